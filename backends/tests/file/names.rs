//! Names as bytes, what symlinks outside the tree lead to. What every tree does is in the conformance suite.

use std::os::unix::fs::{MetadataExt, symlink};

use futures::TryStreamExt;
use object_store::{Error as StoreError, ObjectStoreExt};
use offsite_backends::file::FileKind;
use offsite_backends::{Backend, ErrorKind, FileMeta, Publish, Stamp};

use crate::place::{key, keys, place};

#[tokio::test]
async fn names_are_bytes() {
    let place = place().await;
    let long = "n".repeat(255);
    let deep = format!("deep/{}", [long.as_str(); 20].join("/"));
    assert!(deep.len() > 4096);
    let names: [&[u8]; 8] = [b"new\nline", b"a#12", b"%41", b"back\\slash", b"not-\xff-utf8", b" ", long.as_bytes(), deep.as_bytes()];
    for name in names {
        place.put(name, "content").await;
        assert_eq!(place.read(name).await.unwrap(), b"content");
        let stat = place.tree.stat(name).await.unwrap().unwrap();
        assert_eq!((stat.kind, stat.size), (FileKind::File, 7));
    }
    let raw: Vec<_> = place.backend.list_keys().try_collect().await.unwrap();
    let mut raw: Vec<_> = raw.into_iter().map(|listed| listed.key).collect();
    raw.sort();
    let mut wanted: Vec<_> = names.iter().map(|name| name.to_vec()).collect();
    wanted.sort();
    assert_eq!(raw, wanted);
    // Six of them can be keys, too.
    assert_eq!(keys(&place, None).await.len(), 6);
    for name in [&b"new\nline"[..], b"not-\xff-utf8", deep.as_bytes()] {
        place.tree.remove_file(name, None).await.unwrap();
        assert_eq!(place.tree.stat(name).await.unwrap(), None);
    }
    let too_long = vec![b'n'; 256];
    let refused = place.tree.stage("x".into(), FileMeta::default()).await.unwrap();
    let item = Publish { staged: refused, path: too_long, keep: None };
    let error = place.tree.publish(vec![item], false).await.remove(0).unwrap_err();
    assert_eq!(error.kind, ErrorKind::NameRefused);
    assert_eq!(place.staged(), 0);
}

#[tokio::test]
async fn no_symlink_is_followed() {
    let place = place().await;
    let outside = place.dir.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret"), "s").unwrap();
    symlink(&outside, place.path("dir")).unwrap();
    symlink(outside.join("secret"), place.path("file")).unwrap();

    let error = place.put_keep("dir/new", "x", None).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Exists);
    assert!(error.url.ends_with("/root/dir"), "{error}");
    assert!(place.store.put(&key("dir/new"), "x".into()).await.is_err());
    assert!(place.tree.make_dir(b"dir").await.is_err());
    assert!(place.tree.make_dir(b"dir/sub").await.is_err());
    assert!(place.tree.remove_file(b"dir/secret", None).await.is_err());
    assert!(place.put_keep("ok", "x", Some("dir/kept")).await.is_ok());
    assert!(place.put_keep("ok", "y", Some("dir/kept")).await.is_err());
    for path in ["dir/secret", "file", "dir"] {
        assert_eq!(place.read(path).await.unwrap_err().kind, ErrorKind::NotFound);
        let got = place.store.get(&key(path)).await;
        assert!(matches!(got, Err(StoreError::NotFound { .. })));
    }
    assert_eq!(place.tree.stat(b"file").await.unwrap().unwrap().kind, FileKind::Symlink);
    assert_eq!(keys(&place, None).await, ["ok"]);

    let meta = FileMeta { mode: Some(0o777), mtime: Some(Stamp { secs: 5, nanos: 6 }), ..FileMeta::default() };
    place.tree.set_meta(b"file", meta).await.unwrap();
    let link = std::fs::symlink_metadata(place.path("file")).unwrap();
    assert_eq!((link.mtime(), link.mtime_nsec()), (5, 6));
    let secret = std::fs::metadata(outside.join("secret")).unwrap();
    assert_ne!(secret.mode() & 0o777, 0o777);
    assert_ne!(secret.mtime(), 5);

    place.put("file", "replaced").await;
    assert!(std::fs::symlink_metadata(place.path("file")).unwrap().is_file());
    assert_eq!(std::fs::read(outside.join("secret")).unwrap(), b"s");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
}

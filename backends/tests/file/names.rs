//! Names as bytes, paths that would leave the root, symlinks, kept versions.

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
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert_eq!(place.staged(), 0);
}

#[tokio::test]
async fn paths_that_leave_the_root_are_refused() {
    let place = place().await;
    for path in ["../x", "a/../../x", "a/./b", "/etc/passwd", "a//b", "a/", "..", ".", "a\0b"] {
        let path = path.as_bytes();
        let invalid = |result: offsite_backends::Result<()>| {
            assert_eq!(result.unwrap_err().kind, ErrorKind::Invalid, "{}", path.escape_ascii());
        };
        invalid(place.put_keep(path, "x", None).await);
        invalid(place.put_keep("fine", "x", None).await.and(place.tree.make_dir(path).await));
        invalid(place.tree.symlink(path, b"t", FileMeta::default()).await);
        invalid(place.tree.hard_link(b"fine", path).await);
        invalid(place.tree.hard_link(path, b"other").await);
        invalid(place.tree.set_meta(path, FileMeta::default()).await);
        invalid(place.tree.remove_file(path, None).await);
        invalid(place.tree.remove_file(b"fine", Some(path)).await);
        invalid(place.tree.remove_dir(path).await.map(drop));
        invalid(place.read(path).await.map(drop));
        invalid(place.tree.stat(path).await.map(drop));
    }
    assert_eq!(place.staged(), 0);
    assert!(!place.dir.path().join("x").exists());
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

#[tokio::test]
async fn what_is_replaced_or_removed_is_kept() {
    let place = place().await;
    place.put("a", "one").await;
    place.put_keep("a", "two", Some("kept/1/a")).await.unwrap();
    assert_eq!(place.read("kept/1/a").await.unwrap(), b"one");
    // A name that is taken stays, however often the step is repeated.
    place.put_keep("a", "three", Some("kept/1/a")).await.unwrap();
    assert_eq!(place.read("kept/1/a").await.unwrap(), b"one");
    place.put_keep("new", "x", Some("kept/1/new")).await.unwrap();
    assert!(!place.path("kept/1/new").exists());

    place.tree.remove_file(b"a", Some(b"kept/2/a")).await.unwrap();
    assert_eq!(place.read("kept/2/a").await.unwrap(), b"three");
    place.tree.remove_file(b"a", Some(b"kept/2/a")).await.unwrap();
    place.tree.remove_file(b"no/such", None).await.unwrap();
    place.put("a", "four").await;
    place.tree.remove_file(b"a", Some(b"kept/2/a")).await.unwrap();
    assert_eq!(place.read("kept/2/a").await.unwrap(), b"three");
    assert!(!place.path("a").exists());

    std::fs::create_dir_all(place.path("d/holds something")).unwrap();
    assert_eq!(place.put_keep("d", "x", None).await.unwrap_err().kind, ErrorKind::Exists);
    assert_eq!(place.put_keep("d", "x", Some("k")).await.unwrap_err().kind, ErrorKind::Exists);
    assert_eq!(place.tree.remove_file(b"d", None).await.unwrap_err().kind, ErrorKind::Exists);
    assert!(place.tree.symlink(b"d", b"x", FileMeta::default()).await.is_err());
    assert_eq!(place.staged(), 0);
    for keep in [None, Some("k")] {
        let _ = std::fs::remove_file(place.path("e"));
        std::fs::create_dir(place.path("e")).unwrap();
        place.put_keep("e", "x", keep).await.unwrap();
        assert_eq!(place.read("e").await.unwrap(), b"x");
    }
}

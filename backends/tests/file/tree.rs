//! Links, metadata, holes, directories and the staging area.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path as FsPath;

use bytes::Bytes;
use offsite_backends::{ErrorKind, FileMeta, Publish, Stamp, Tree};

use crate::place::{keys, place};

#[tokio::test]
async fn links() {
    let place = place().await;
    place.put("a", "one").await;
    place.put("b", "two").await;
    place.tree.hard_link(b"a", b"x/y").await.unwrap();
    place.tree.hard_link(b"a", b"b").await.unwrap();
    place.tree.hard_link(b"a", b"b").await.unwrap();
    assert_eq!(std::fs::metadata(place.path("b")).unwrap().nlink(), 3);
    let meta = FileMeta { mtime: Some(Stamp { secs: -7, nanos: 9 }), ..FileMeta::default() };
    for target in [&b"../../anywhere"[..], b"\xff", b"a"] {
        place.tree.symlink(b"x/link", target, meta.clone()).await.unwrap();
        let link = place.path("x/link");
        assert_eq!(std::fs::read_link(&link).unwrap().as_os_str().as_bytes(), target);
        let found = std::fs::symlink_metadata(&link).unwrap();
        assert_eq!((found.mtime(), found.mtime_nsec()), (-7, 9));
    }
    assert_eq!(place.staged(), 0);
}

#[tokio::test]
async fn metadata_is_exact() {
    let place = place().await;
    let meta = FileMeta {
        mode: Some(0o4751),
        mtime: Some(Stamp { secs: 1_234_567_890, nanos: 123_456_789 }),
        owner: Some((1234, 2345)),
        xattrs: vec![(b"user.test".to_vec(), b"value".to_vec()), (b"bogus.x".to_vec(), vec![])],
        sparse: false,
    };
    let root = rustix::process::geteuid().is_root();
    let check = |path: &FsPath, mode: u32| {
        let found = std::fs::metadata(path).unwrap();
        assert_eq!(found.mode() & 0o7777, mode);
        assert_eq!((found.mtime(), found.mtime_nsec()), (1_234_567_890, 123_456_789));
        if root {
            assert_eq!((found.uid(), found.gid()), (1234, 2345));
        }
    };
    let staged = place.tree.stage("x".into(), meta.clone()).await.unwrap();
    let item = Publish { staged, path: b"f".to_vec(), keep: None };
    place.tree.publish(vec![item], true).await.remove(0).unwrap();
    check(&place.path("f"), 0o4751);
    let mut value = [0; 16];
    if let Ok(n) = rustix::fs::getxattr(place.path("f"), "user.test", &mut value) {
        assert_eq!(&value[..n], b"value");
    }
    place.tree.make_dir(b"d/e").await.unwrap();
    assert_eq!(std::fs::metadata(place.path("d")).unwrap().mode() & 0o777, 0o700);
    place.tree.set_meta(b"d/e", FileMeta { mode: Some(0o2000), ..meta.clone() }).await.unwrap();
    check(&place.path("d/e"), 0o2000);
    // Neither a mode of nothing nor a FIFO without a writer is in the way.
    place.tree.set_meta(b"d/e", FileMeta { mode: Some(0o755), ..meta.clone() }).await.unwrap();
    check(&place.path("d/e"), 0o755);
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, place.path("p"), fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    place.tree.set_meta(b"p", FileMeta { mode: Some(0o640), ..meta.clone() }).await.unwrap();
    check(&place.path("p"), 0o640);
    assert_eq!(place.read("p").await.unwrap_err().kind, ErrorKind::NotFound);
    place.tree.set_meta(b"", FileMeta { mode: Some(0o711), ..FileMeta::default() }).await.unwrap();
    let root_mode = std::fs::metadata(place.path("")).unwrap().permissions().mode();
    assert_eq!(root_mode & 0o777, 0o711);
    let copy = place.tree.stage_copy(b"f", 1, meta).await.unwrap();
    let item = Publish { staged: copy, path: b"g".to_vec(), keep: None };
    place.tree.publish(vec![item], false).await.remove(0).unwrap();
    check(&place.path("g"), 0o4751);
    assert_eq!(std::fs::read(place.path("g")).unwrap(), b"x");
}

#[tokio::test]
async fn holes_and_blocks() {
    let place = place().await;
    let mut content = vec![0; (4 << 20) + 1000];
    content[0] = 1;
    content[(1 << 20) + 4095] = 2;
    content[4 << 20] = 3;
    let meta = FileMeta { sparse: true, ..FileMeta::default() };
    let mut all = Vec::new();
    all.push(place.tree.stage(content.clone().into(), meta.clone()).await.unwrap());
    for step in [1 << 20, 4097, 1000] {
        let mut blocks = place.tree.stage_blocks(meta.clone()).await.unwrap();
        for block in content.chunks(step) {
            blocks.write(Bytes::copy_from_slice(block)).await.unwrap();
        }
        all.push(blocks.finish().await.unwrap());
    }
    all.push(place.tree.stage_copy(&all[0].temp, content.len() as u64, meta.clone()).await.unwrap());
    let name = |i: usize| format!("f{i}").into_bytes();
    let item = |(i, staged)| Publish { staged, path: name(i), keep: None };
    let count = all.len();
    let done = place.tree.publish(all.into_iter().enumerate().map(item).collect(), true).await;
    assert!(done.iter().all(Result::is_ok));
    for i in 0..count {
        assert!(place.read(name(i)).await.unwrap() == content, "{i}");
        let blocks = std::fs::metadata(place.path(name(i))).unwrap().blocks();
        assert!(blocks * 512 < 1 << 16, "{i}: {blocks}");
    }
    // Zeros at the end count for the length.
    let staged = place.tree.stage(vec![0; 8192].into(), meta).await.unwrap();
    let item = Publish { staged, path: b"z".to_vec(), keep: None };
    place.tree.publish(vec![item], false).await.remove(0).unwrap();
    assert_eq!(std::fs::metadata(place.path("z")).unwrap().len(), 8192);
    let dropped = place.tree.stage_blocks(FileMeta::default()).await.unwrap();
    assert_eq!(place.staged(), 1);
    drop(dropped);
    assert_eq!(place.staged(), 0);
}

#[tokio::test]
async fn directories_and_staging() {
    let place = place().await;
    place.tree.clear_staging().await.unwrap();
    place.put("d/mine", "x").await;
    std::fs::write(place.path("d/foreign"), "y").unwrap();
    place.tree.remove_file(b"d/mine", None).await.unwrap();
    assert!(!place.tree.remove_dir(b"d").await.unwrap());
    std::fs::remove_file(place.path("d/foreign")).unwrap();
    assert!(place.tree.remove_dir(b"d").await.unwrap());
    assert!(place.tree.remove_dir(b"d").await.unwrap());
    assert!(!place.tree.remove_dir(b"").await.unwrap());
    // The directory that was open is not written to any more.
    place.put("d/again", "x").await;
    assert!(place.path("d/again").exists());
    // Nor one that somebody else removed.
    std::fs::remove_dir_all(place.path("d")).unwrap();
    place.put("d/more", "x").await;
    assert!(place.path("d/more").exists());
    assert_eq!(place.tree.remove_dir(b"d/more").await.unwrap_err().kind, ErrorKind::Exists);

    let left = place.tree.stage("x".into(), FileMeta::default()).await.unwrap();
    let thrown = place.tree.stage("x".into(), FileMeta::default()).await.unwrap();
    place.tree.discard(thrown).await.unwrap();
    assert_eq!(place.staged(), 1);
    assert!(keys(&place, None).await.iter().all(|key| key == "d/more"));
    place.tree.clear_staging().await.unwrap();
    assert_eq!(place.staged(), 0);
    let item = Publish { staged: left, path: b"late".to_vec(), keep: None };
    let error = place.tree.publish(vec![item], true).await.remove(0).unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound);
    place.tree.sync().await.unwrap();
}

#[tokio::test]
async fn the_staging_area_goes_without_following_what_stands_in_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::create_dir_all(path("outside/0")).unwrap();
    std::fs::create_dir_all(path("root")).unwrap();
    std::fs::write(path("outside/lock"), "theirs").unwrap();
    let tree = offsite_backends::file::LocalTree::open(&path("root"), b".stage").unwrap();
    let swap = || {
        std::fs::rename(path("root/.stage"), path("moved")).unwrap();
        std::os::unix::fs::symlink(path("outside"), path("root/.stage")).unwrap();
    };
    tree.stage("x".into(), FileMeta::default()).await.unwrap();
    swap();
    // While the directory is still known, and afterwards.
    for _ in 0..2 {
        let _ = tree.clear_staging().await;
        let _ = tree.remove_staging().await;
        std::thread::sleep(std::time::Duration::from_millis(1100));
    }
    assert!(path("outside/0").is_dir() && path("outside/lock").exists() && path("root/.stage").is_symlink());
    std::fs::remove_file(path("root/.stage")).unwrap();
    // Of its own only what it made: a file of somebody else's stays, and so does the directory.
    let left = tree.stage("x".into(), FileMeta::default()).await.unwrap();
    std::fs::write(path("root/.stage/notes"), "theirs").unwrap();
    tree.clear_staging().await.unwrap();
    tree.remove_staging().await.unwrap();
    assert!(!path("root").join(std::str::from_utf8(&left.temp).unwrap()).exists() && path("root/.stage/notes").exists());
    std::fs::remove_file(path("root/.stage/notes")).unwrap();
    tree.remove_staging().await.unwrap();
    assert!(!path("root/.stage").exists());
}

#[tokio::test]
async fn an_attribute_that_cannot_be_set_does_not_keep_the_file_out() {
    let place = place().await;
    let long = FileMeta { mode: Some(0o640), xattrs: vec![(b"user.big".to_vec(), vec![b'x'; 100_000])], ..FileMeta::default() };
    let staged = place.tree.stage("x".into(), long.clone()).await.unwrap();
    assert_eq!((staged.unset.len(), &staged.unset[0].name[..]), (1, &b"user.big"[..]));
    let item = Publish { staged, path: b"f".to_vec(), keep: None };
    place.tree.publish(vec![item], true).await.remove(0).unwrap();
    let again = place.tree.set_meta(b"f", long).await.unwrap();
    assert_eq!(again.len(), 1);
    let found = std::fs::metadata(place.path("f")).unwrap();
    assert_eq!((found.len(), found.mode() & 0o7777), (1, 0o640));
}

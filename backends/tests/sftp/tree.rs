//! Metadata, large files and the number of packets.

use std::os::unix::fs::MetadataExt;
use std::time::{Duration, UNIX_EPOCH};

use futures::TryStreamExt;
use object_store::{ObjectStoreExt, PutPayload};
use offsite_backends::{Backend, FileMeta, Publish, Stamp};

use crate::{Server, content, put, read, ready};

#[tokio::test]
async fn times_modes_and_owners() {
    let Some(server) = Server::find() else { return };
    let (backend, dir) = server.place("");
    let tree = ready(&backend).await;
    for (secs, nanos, kept) in [(1_234_567_890, 999_999_999, 1_234_567_890), (-5, 0, 0), (1 << 40, 0, (1 << 32) - 1)] {
        let mtime = Stamp { secs, nanos };
        assert_eq!(tree.kept_stamp(mtime), Stamp { secs: kept, nanos: 0 });
        if kept < 1 << 31 {
            put(tree.as_ref(), "a", "x", FileMeta { mtime: Some(mtime), ..FileMeta::default() }).await.unwrap();
            assert_eq!(tree.stat(b"a").await.unwrap().unwrap().mtime, tree.kept_stamp(mtime));
        }
    }
    if !server.is_openssh {
        return;
    }
    let seen = || std::fs::metadata(dir.join("a")).unwrap();
    let root = seen().uid() == 0;
    let owner = root.then_some((4711, 4712));
    let meta = FileMeta { mode: Some(0o4751), owner: owner.or(Some((0, 0))), ..FileMeta::default() };
    for round in 0..2 {
        put(tree.as_ref(), "a", "x", meta.clone()).await.unwrap();
        assert_eq!(seen().mode() & 0o7777, 0o4751, "round {round}: setting the owner takes no set-id bit away");
        assert!(!root || (seen().uid(), seen().gid()) == (4711, 4712));
        tree.set_meta(b"a", FileMeta { mode: Some(0o600), owner: Some((0, 0)), ..FileMeta::default() }).await.unwrap();
        assert_eq!((seen().mode() & 0o7777, seen().uid()), (0o600, if root { 0 } else { seen().uid() }));
    }
    // What another tool left, and is right already, keeps the parts of a second that SFTP cannot say.
    let precise = UNIX_EPOCH + Duration::new(1_600_000_000, 123_456_789);
    std::fs::File::options().write(true).open(dir.join("a")).unwrap().set_modified(precise).unwrap();
    let mtime = Some(Stamp { secs: 1_600_000_000, nanos: 123_456_789 });
    for mode in [0o600, 0o640] {
        tree.set_meta(b"a", FileMeta { mode: Some(mode), mtime, ..FileMeta::default() }).await.unwrap();
        assert_eq!((seen().mode() & 0o7777, seen().modified().unwrap()), (mode, precise));
    }
}

#[tokio::test]
async fn a_large_file_goes_up_and_down() {
    let Some(server) = Server::find() else { return };
    let (backend, dir) = server.place("");
    let tree = ready(&backend).await;
    let data = content((40 << 20) + 12_345);
    for sparse in [false, true] {
        let mut data = data.clone();
        data[3 << 20..20 << 20].fill(0);
        let mut blocks = tree.stage_blocks(FileMeta { sparse, ..FileMeta::default() }).await.unwrap();
        for block in data.chunks(1 << 20) {
            blocks.write(block.to_vec().into()).await.unwrap();
        }
        let staged = blocks.finish().await.unwrap();
        let done = tree.publish(vec![Publish { staged, path: b"big".to_vec(), keep: None }], true).await;
        assert!(done[0].is_ok(), "{done:?}");
        assert!(read(tree.as_ref(), "big").await.unwrap() == data, "other bytes came back");
        if sparse && server.is_openssh {
            let stored = std::fs::metadata(dir.join("big")).unwrap().blocks() * 512;
            assert!(stored < 30 << 20, "{stored} bytes are stored of a file with a hole of 17 MiB");
        }
    }
    let part = backend.store().get_range(&"big".into(), 5_000_000..25_000_000).await.unwrap();
    let mut wanted = data;
    wanted[3 << 20..20 << 20].fill(0);
    assert!(part == wanted[5_000_000..25_000_000], "another range came back");
    let copied = backend.copy_exact(&"big".into(), &"copy".into(), 0, None, object_store::PutMode::Overwrite).await.unwrap();
    assert!(copied.e_tag.is_some() && read(tree.as_ref(), "copy").await.unwrap() == wanted);
}

/// What a small file costs: it is opened, then written, stamped and closed at once, then renamed.
#[tokio::test]
async fn packets_are_counted_and_few() {
    let Some(server) = Server::find() else { return };
    let (backend, _) = server.place("");
    let tree = ready(&backend).await;
    let meta = FileMeta { mode: Some(0o644), mtime: Some(Stamp { secs: 1_000_000_000, nanos: 1 }), ..FileMeta::default() };
    for n in 0..16 {
        put(tree.as_ref(), &format!("d/{n}"), "x", meta.clone()).await.unwrap();
    }
    let before = (backend.packets(), backend.meter().requests().put);
    for n in 16..116 {
        put(tree.as_ref(), &format!("d/{n}"), "x", meta.clone()).await.unwrap();
    }
    // Other servers than OpenSSH are asked first what a rename would replace.
    assert_eq!(backend.packets() - before.0, if server.is_openssh { 500 } else { 600 });
    assert_eq!(backend.meter().requests().put - before.1, 100);
    let before = backend.packets();
    assert_eq!(backend.list_keys().try_collect::<Vec<_>>().await.unwrap().len(), 116);
    assert!(backend.packets() - before < 60, "{}", backend.packets() - before);
}

#[tokio::test]
async fn an_upload_in_parts_keeps_their_order() {
    let Some(server) = Server::find() else { return };
    let (backend, _) = server.place("");
    ready(&backend).await;
    let store = backend.store();
    let mut upload = store.put_multipart(&"parts".into()).await.unwrap();
    let parts: Vec<_> = (0..5u8).map(|n| upload.put_part(PutPayload::from(vec![n; 1 << 20]))).collect();
    futures::future::try_join_all(parts.into_iter().rev()).await.unwrap();
    upload.complete().await.unwrap();
    let got = store.get(&"parts".into()).await.unwrap().bytes().await.unwrap();
    assert!((0..5).all(|n| got[n << 20] == n as u8) && got.len() == 5 << 20);
    assert!(upload.complete().await.is_err());
}

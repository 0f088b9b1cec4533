//! What a real server, or the `ssh` before it, refuses.

use futures::TryStreamExt;
use object_store::{ObjectStoreExt, PutPayload};
use offsite_backends::{Backend, ErrorKind, FileMeta, Stamp};

use crate::{Server, open, put, read, ready};

#[tokio::test]
async fn host_keys_and_logins() {
    let Some(server) = Server::find().filter(|server| server.is_openssh) else { return };
    let unknown = server.with_config("unknown").prepare().await.unwrap_err();
    assert!(unknown.kind == ErrorKind::Denied && unknown.message.contains("ssh-keyscan -p"), "{unknown}");
    assert!(unknown.message.contains("ssh -F"), "{unknown}");
    let changed = server.with_config("changed").prepare().await.unwrap_err();
    assert!(changed.kind == ErrorKind::Denied && changed.message.contains("ssh-keygen"), "{changed}");
    assert!(changed.message.contains("-R"), "{changed}");
    let login = server.with_config("wrong-key").prepare().await.unwrap_err();
    assert!(login.kind == ErrorKind::Denied && login.message.contains("publickey"), "{login}");
}

#[tokio::test]
async fn nobody_listens() {
    let error = open("sftp://127.0.0.1:9/srv/x?ssh_config=/dev/null").prepare().await.unwrap_err();
    assert!(error.kind == ErrorKind::Transient && error.message.contains("Connection refused"), "{error}");
}

#[tokio::test]
async fn a_directory_that_is_not_there() {
    let Some(server) = Server::find() else { return };
    let (backend, _) = server.place("");
    let listed = backend.list_keys().try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!(listed.kind, ErrorKind::NotFound);
    let tree = backend.tree().unwrap();
    assert_eq!(tree.stat(b"a").await.unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(put(tree.as_ref(), "a", "x", FileMeta::default()).await.unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(tree.clear_staging().await.unwrap_err().kind, ErrorKind::NotFound);
}

/// A login without a shell, confined to a directory, is enough for everything.
#[tokio::test]
async fn a_confined_login_is_enough() {
    let Some(server) = Server::find() else { return };
    let Ok(url) = std::env::var("OFFSITE_TEST_SFTP_CONFINED_URL") else { return };
    let home = url.replace("/data", "/~");
    for (url, name) in [(&url, "by-path"), (&home, "by-home")] {
        let backend = open(&format!("{url}/{name}?ssh_config={}", server.config));
        let tree = ready(&backend).await;
        put(tree.as_ref(), "d/a", "one", FileMeta { mode: Some(0o640), ..FileMeta::default() }).await.unwrap();
        assert_eq!(read(tree.as_ref(), "d/a").await.unwrap(), b"one");
        let meta = FileMeta { mode: Some(0o755), mtime: Some(Stamp { secs: 1_000_000_000, nanos: 0 }), ..FileMeta::default() };
        tree.set_meta(b"d", meta.clone()).await.unwrap();
        tree.symlink(b"d/link", b"a", meta).await.unwrap();
        assert_eq!(tree.stat(b"d/link").await.unwrap().unwrap().mtime.secs, 1_000_000_000);
        let store = backend.store();
        store.put(&"b".into(), PutPayload::from_static(b"two")).await.unwrap();
        assert_eq!(backend.list_keys().try_collect::<Vec<_>>().await.unwrap().len(), 2);
        let space = backend.space().await.unwrap().unwrap();
        assert!(space.free <= space.total && space.total > 0);
    }
}

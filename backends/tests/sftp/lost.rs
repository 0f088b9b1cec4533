//! A connection that is lost in the middle is made again, and the work goes on.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use offsite_backends::sftp::SftpBackend;
use offsite_backends::{Backend, ErrorKind, FileMeta, Publish, Stamp};

use crate::{Server, content, program, put, read, ready};

/// A backend of which every `ssh` can be killed.
struct Frail {
    backend: SftpBackend,
    seen: PathBuf,
    dir: tempfile::TempDir,
}

impl Frail {
    fn new(server: &Server) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let pids = dir.path().join("pids");
        let ssh = program(dir.path(), &format!("echo $$ >>{}\nexec ssh \"$@\"", pids.display()));
        let (backend, seen) = server.place(&format!("&ssh={}", ssh.display()));
        Self { backend, seen, dir }
    }

    fn pids(&self) -> Vec<i32> {
        let text = std::fs::read_to_string(self.dir.path().join("pids")).unwrap_or_default();
        text.lines().map(|line| line.parse().unwrap()).collect()
    }

    /// Kills the connection; only processes that this test started.
    fn kill(&self) {
        if let Some(pid) = self.pids().last().and_then(|pid| rustix::process::Pid::from_raw(*pid)) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

fn left(seen: &Path) -> usize {
    let shards = std::fs::read_dir(seen.join(".offsite/tmp")).unwrap().flatten();
    shards.map(|shard| std::fs::read_dir(shard.path()).unwrap().count()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn many_small_files_all_arrive() {
    let Some(server) = Server::find() else { return };
    let frail = Frail::new(&server);
    let tree = ready(&frail.backend).await;
    let meta = FileMeta { mtime: Some(Stamp { secs: 1_000_000_000, nanos: 0 }), ..FileMeta::default() };
    let puts = stream::iter(0..400).map(|n| {
        let (tree, meta, frail) = (tree.clone(), meta.clone(), &frail);
        async move {
            if n % 120 == 60 {
                frail.kill();
            }
            put(tree.as_ref(), &format!("d{}/{n}", n % 7), format!("content {n}"), meta).await
        }
    });
    puts.buffer_unordered(32).try_collect::<Vec<_>>().await.unwrap();
    assert!(frail.pids().len() >= 3, "{:?}", frail.pids());
    for n in (0..400).step_by(13) {
        assert_eq!(read(tree.as_ref(), &format!("d{}/{n}", n % 7)).await.unwrap(), format!("content {n}").into_bytes());
        assert_eq!(tree.stat(format!("d{}/{n}", n % 7).as_bytes()).await.unwrap().unwrap().mtime.secs, 1_000_000_000);
    }
    assert_eq!(frail.backend.list_keys().try_collect::<Vec<_>>().await.unwrap().len(), 400);
    tree.clear_staging().await.unwrap();
    assert_eq!(left(&frail.seen), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_run_staged_is_removed_and_nothing_else() {
    let Some(server) = Server::find() else { return };
    let frail = Frail::new(&server);
    let tree = ready(&frail.backend).await;
    let shard = frail.seen.join(".offsite/tmp/3");
    std::fs::create_dir_all(&shard).unwrap();
    std::fs::write(shard.join("0123456789abcdef-1"), "half").unwrap();
    // `rclone serve sftp` does not show symlinks.
    if server.is_openssh {
        std::os::unix::fs::symlink("anywhere", shard.join("0123456789abcdef-2f")).unwrap();
    }
    std::fs::write(shard.join("notes"), "of the user").unwrap();
    tree.clear_staging().await.unwrap();
    let names: Vec<_> = std::fs::read_dir(&shard).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["notes"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_goes_on_where_it_was() {
    let Some(server) = Server::find() else { return };
    let frail = Frail::new(&server);
    let tree = ready(&frail.backend).await;
    let data = content((24 << 20) + 77);
    let mut blocks = tree.stage_blocks(FileMeta::default()).await.unwrap();
    for (n, block) in data.chunks(1 << 20).enumerate() {
        if n % 7 == 5 {
            frail.kill();
        }
        blocks.write(block.to_vec().into()).await.unwrap();
    }
    frail.kill();
    let staged = blocks.finish().await.unwrap();
    let done = tree.publish(vec![Publish { staged, path: b"big".to_vec(), keep: None }], true).await;
    assert!(done[0].is_ok(), "{done:?}");
    assert!(frail.backend.meter().sent() < 2 * data.len() as u64, "{} bytes were sent", frail.backend.meter().sent());
    let mut got = Vec::new();
    let mut stream = tree.read_blocks(b"big", data.len() as u64).await.unwrap();
    while let Some(block) = stream.next().await {
        got.extend(block.unwrap());
        if got.len() % (9 << 20) == 0 {
            frail.kill();
        }
    }
    assert!(got == data, "other bytes came back");
    // What becomes another file meanwhile is not taken for the same one.
    let mut stream = tree.read_blocks(b"big", data.len() as u64).await.unwrap();
    stream.next().await.unwrap().unwrap();
    put(tree.as_ref(), "big", content(30 << 20), FileMeta::default()).await.unwrap();
    frail.kill();
    let rest: Vec<_> = stream.collect().await;
    let failed = rest.iter().find_map(|block| block.as_ref().err());
    assert!(failed.is_none_or(|error| error.kind == ErrorKind::Transient));
    let whole: usize = rest.iter().map_while(|block| block.as_ref().ok()).map(bytes::Bytes::len).sum();
    assert!(failed.is_some() || whole + (1 << 20) == data.len());
}

/// What was staged when the server lost it is not passed off as written.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_forgot_is_noticed() {
    let Some(server) = Server::find().filter(|server| server.is_openssh) else { return };
    let frail = Frail::new(&server);
    let tree = ready(&frail.backend).await;
    let mut blocks = tree.stage_blocks(FileMeta::default()).await.unwrap();
    for _ in 0..12 {
        blocks.write(vec![1; 1 << 20].into()).await.unwrap();
    }
    frail.kill();
    tokio::time::sleep(Duration::from_millis(300)).await;
    for shard in std::fs::read_dir(frail.seen.join(".offsite/tmp")).unwrap().flatten() {
        for file in std::fs::read_dir(shard.path()).unwrap().flatten() {
            std::fs::File::options().write(true).open(file.path()).unwrap().set_len(4096).unwrap();
        }
    }
    let error = blocks.finish().await.unwrap_err();
    assert!(error.kind == ErrorKind::Transient && error.message.contains("lost what it had confirmed"), "{error}");
}

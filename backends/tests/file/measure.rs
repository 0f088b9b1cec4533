//! How fast small files are written. Run by hand, on a file system without recent mass deletes:
//! `cargo test --release -p offsite-backends --test file -- --ignored --nocapture`.

use std::time::Instant;

use bytes::Bytes;
use offsite_backends::file::{LocalTree, STAGING};
use offsite_backends::{FileMeta, Publish, Stamp, Tree};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn measure_small_files() {
    const FILES: usize = 20_000;
    let dir = tempfile::tempdir_in(std::env::var("BENCH_DIR").unwrap_or("/tmp".into())).unwrap();
    let tree = LocalTree::open(dir.path(), STAGING).unwrap();
    let content = Bytes::from(vec![7; 2048]);
    for durable in [false, true] {
        let start = Instant::now();
        let batches = (0..FILES).step_by(1024).map(|first| {
            let (tree, content) = (tree.clone(), content.clone());
            async move {
                let mut items = Vec::new();
                for i in first..(first + 1024).min(FILES) {
                    let meta = FileMeta { mode: Some(0o644), mtime: Some(Stamp { secs: 1, nanos: 0 }), ..FileMeta::default() };
                    let staged = tree.stage(content.clone(), meta).await.unwrap();
                    items.push(Publish { staged, path: format!("{durable}/{:03}/{i}", i / 40).into(), keep: None });
                }
                let done = tokio::spawn(async move { tree.publish(items, durable).await }).await.unwrap();
                assert!(done.iter().all(Result::is_ok));
            }
        });
        futures::StreamExt::for_each_concurrent(futures::stream::iter(batches), 8, |b| b).await;
        let took = start.elapsed();
        println!("durable={durable}: {took:?}, {:.0} files/s", FILES as f64 / took.as_secs_f64());
    }
}

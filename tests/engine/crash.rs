//! Killed at every storage call, failed at every storage call: the last snapshot stays whole, and the next
//! run finishes without sending again what had arrived.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use offsite::engine::PullOptions;
use offsite::model::{KeepRules, Sample};
use offsite_backends::testing::MemoryOptions;
use offsite_backends::{Backend, ErrorKind};

use crate::harness::*;

/// Makes the store of one story.
type Make = dyn Fn(&World) -> Arc<dyn Backend>;

fn first_tree(world: &World) {
    for i in 0..8 {
        world.write(&format!("dir/{i}.txt"), format!("first {i}").as_bytes());
    }
    world.write("gone/later", b"to be removed");
    world.write("kind", b"a file now");
    world.write("big", &vec![1; 17 << 20]);
}

fn second_tree(world: &World) {
    for i in 0..4 {
        world.write(&format!("dir/{i}.txt"), format!("second {i}").as_bytes());
    }
    world.write("new/one", b"new");
    fs::rename(world.source().join("dir/7.txt"), world.source().join("renamed.txt")).unwrap();
    fs::remove_dir_all(world.source().join("gone")).unwrap();
    world.remove("kind");
    world.write("kind/is a directory", b"now");
    world.write("big", &vec![2; 17 << 20]);
}

fn copy_tree(from: &Path, to: &Path) {
    let done = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(done.success());
}

/// What the world looks like when only the first run is behind it.
struct Story {
    world: World,
    inner: Arc<dyn Backend>,
}

async fn told(make: &Make) -> Story {
    let world = World::new();
    let inner = make(&world);
    first_tree(&world);
    world.synced(&inner).await;
    copy_tree(&world.source(), &world.path("first"));
    second_tree(&world);
    Story { world, inner }
}

/// How many storage calls the second run makes.
async fn calls(make: &Make) -> u64 {
    let story = told(make).await;
    let (script, backend) = faulty(&story.inner);
    story.world.synced(&backend).await;
    script.count()
}

/// After a broken run: the newest snapshot can be pulled whole, and is the old or the new tree.
async fn newest_is_whole(story: &Story, n: u64) -> bool {
    let target = format!("after-{n}");
    let pulled = story.world.pull(&story.inner, &target, &PullOptions::default()).await.unwrap();
    assert_eq!(pulled.problems, Sample::default(), "call {n}");
    let is = if pulled.snapshot == 1 { story.world.path("first") } else { story.world.source() };
    same_trees(&is, &story.world.path(&target));
    pulled.snapshot == 2
}

async fn killed_everywhere(make: &Make) {
    let total = calls(make).await;
    assert!(total >= either(15, 7), "{total}");
    for n in 1..=total {
        let story = told(make).await;
        let (script, backend) = faulty(&story.inner);
        script.script().stop_at(n);
        let broken = story.world.sync(&backend).await;
        let committed = newest_is_whole(&story, n).await;
        let done = story.world.synced(&story.inner).await;
        story.world.comes_back(&story.inner).await;
        if committed {
            assert!(broken.snapshot.is_none() || broken.exit == 3 || broken.error.is_none(), "call {n}: {broken:?}");
        } else {
            assert_ne!(broken.exit, 0, "call {n}");
        }
        assert!(done.bytes.sent <= 17_900_000, "call {n}: {:?}", done.bytes);
    }
}

/// The source goes back to what it was after a run was cut off, and nothing is kept: no content of that run may
/// be left at the destination, neither under names that are gone again nor under those that are back.
async fn gone_back_everywhere(make: &Make, plain: impl Fn(&Story)) {
    let total = calls(make).await;
    for n in 1..=total {
        let mut story = told(make).await;
        story.world.options.keep = KeepRules::default();
        let (script, backend) = faulty(&story.inner);
        script.script().stop_at(n);
        story.world.sync(&backend).await;
        fs::remove_dir_all(story.world.source()).unwrap();
        copy_tree(&story.world.path("first"), &story.world.source());
        story.world.synced(&story.inner).await;
        story.world.comes_back(&story.inner).await;
        plain(&story);
        fs::remove_dir_all(story.world.dir.path()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_goes_back_after_a_killed_run_to_an_object_store() {
    let last = Arc::new(std::sync::Mutex::new(None));
    let keeper = Arc::clone(&last);
    let make = move |_: &World| {
        let (bucket, backend) = memory("gone-back");
        *keeper.lock().unwrap() = Some(bucket);
        backend
    };
    gone_back_everywhere(&make, |story| {
        let bucket = last.lock().unwrap().clone().unwrap();
        let there: BTreeMap<String, Vec<u8>> = bucket
            .keys()
            .into_iter()
            .filter(|k| !k.starts_with(".offsite/"))
            .map(|k| (k.clone(), bucket.content(&k).unwrap().to_vec()))
            .collect();
        let files = tree(&story.world.source()).into_iter().filter(|(_, facts)| facts.0 == 'f');
        let wanted: Vec<String> = files.map(|(path, _)| String::from_utf8(path).unwrap()).collect();
        assert_eq!(there.keys().cloned().collect::<Vec<_>>(), wanted);
        for (key, content) in there {
            assert_eq!(content, fs::read(story.world.source().join(&key)).unwrap(), "{key}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_goes_back_after_a_killed_run_to_a_directory() {
    gone_back_everywhere(&|world| world.file("destination"), |story| {
        same_trees(&story.world.source(), &story.world.path("destination"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_call_on_an_object_store() {
    killed_everywhere(&|_| memory("killed").1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_call_where_the_bucket_keeps_versions() {
    killed_everywhere(&|_| memory_with("versions", MemoryOptions { versions: true, ..MemoryOptions::default() }).1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_call_in_a_directory() {
    killed_everywhere(&|world| world.file("destination")).await;
}

/// A run that only adds has directories to set after its commit. A kill in between must not leave them as they are.
#[tokio::test(flavor = "multi_thread")]
async fn directories_are_set_after_a_killed_run_that_only_added() {
    let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_600_000_000);
    let age = |world: &World, name: &str| fs::File::open(world.source().join(name)).unwrap().set_modified(old).unwrap();
    for n in 1.. {
        let world = World::new();
        let inner = world.file("destination");
        world.write("dir/one", b"one");
        age(&world, "dir");
        world.synced(&inner).await;
        world.write("dir/two", b"two");
        world.write("more/three", b"three");
        age(&world, "dir");
        age(&world, "more");
        let (script, backend) = faulty(&inner);
        script.script().stop_at(n);
        world.sync(&backend).await;
        let all = !script.script().is_stopped();
        world.synced(&inner).await;
        same_trees(&world.source(), &world.path("destination"));
        if all {
            assert!(n > 15, "{n}");
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_at_every_call() {
    let makes: [&Make; 2] = [&|_| memory("failed").1, &|world| world.file("destination")];
    for make in makes {
        for n in 1..=calls(make).await {
            for kind in [ErrorKind::Transient, ErrorKind::Full] {
                let story = told(make).await;
                let (script, backend) = faulty(&story.inner);
                script.script().fail_at(n, kind);
                let broken = story.world.sync(&backend).await;
                assert!(broken.exit != 0 || broken.error.is_none(), "call {n}: {broken:?}");
                newest_is_whole(&story, n).await;
                story.world.synced(&story.inner).await;
                story.world.comes_back(&story.inner).await;
            }
        }
    }
}

/// Killed between the commit and what comes after it, or never told that it committed: what the new snapshot no
/// longer holds goes with the next run.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_was_lost_is_tidied_up_after() {
    let world = World::new();
    let (bucket, inner) = memory("lost");
    world.write("stays", b"stays");
    world.write("goes", b"goes");
    world.synced(&inner).await;
    world.remove("goes");
    let (script, backend) = faulty(&inner);
    // The lease is the first, the snapshot the second.
    script.script().lose_answer("create", 2, ErrorKind::Transient);
    assert_ne!(world.sync(&backend).await.exit, 0);
    assert!(bucket.keys().contains(&"goes".to_owned()));
    world.synced(&inner).await;
    assert!(!bucket.keys().contains(&"goes".to_owned()));
    world.comes_back(&inner).await;
}

/// The note of a run that did not commit is of no use to the next one.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_did_not_commit_leaves_nothing_to_tidy_up() {
    let world = World::new();
    let (bucket, inner) = memory("back");
    world.write("stays", b"stays");
    world.write("comes back", b"one");
    world.synced(&inner).await;
    world.remove("comes back");
    let (script, backend) = faulty(&inner);
    script.script().fail_verb("create", 2, ErrorKind::Denied);
    assert_ne!(world.sync(&backend).await.exit, 0);
    world.write("comes back", b"two");
    world.synced(&inner).await;
    world.synced(&inner).await;
    assert!(bucket.keys().contains(&"comes back".to_owned()));
    world.comes_back(&inner).await;
}

/// A run that was cut off in the middle of a large file goes on with its parts.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_upload_goes_on_with_its_parts() {
    let world = World::new();
    let (bucket, inner) = memory("parts");
    world.write("big", &vec![3; 40 << 20]);
    let (script, backend) = faulty(&inner);
    script.script().fail_verb("put_part", 4, ErrorKind::Transient);
    assert_ne!(world.sync(&backend).await.exit, 0);
    assert_eq!(bucket.unfinished_uploads(), 1);
    let before = inner.meter().requests().multipart;
    let done = world.synced(&inner).await;
    // Parts that were there are not sent again: what is left, and the completion.
    assert!(done.requests.multipart - before <= 3, "{:?} after {before}", done.requests);
    assert_eq!(bucket.unfinished_uploads(), 0);
    world.comes_back(&inner).await;
}

/// Buckets are told to drop uploads that nobody ended; a run that wanted to go on with one begins anew.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_the_store_gave_up_is_begun_anew() {
    let world = World::new();
    let (bucket, inner) = memory("given up");
    world.write("big", &vec![3; 40 << 20]);
    for verb in ["put_part", "complete_multipart"] {
        let (script, backend) = faulty(&inner);
        // A completion is tried four times.
        for nth in if verb == "put_part" { 4..=4 } else { 1..=4 } {
            script.script().fail_verb(verb, nth, ErrorKind::Transient);
        }
        assert_ne!(world.sync(&backend).await.exit, 0);
        bucket.lose_uploads();
    }
    let done = world.synced(&inner).await;
    assert_eq!((done.bytes.sent, bucket.unfinished_uploads()), (40 << 20, 0));
    world.comes_back(&inner).await;
}

/// The same where none of its parts had arrived: it is not waited for for ever either.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_without_parts_that_the_store_gave_up_is_begun_anew() {
    let world = World::new();
    let (bucket, inner) = memory("given up at once");
    world.write("big", &vec![3; 9 << 20]);
    let (script, backend) = faulty(&inner);
    for part in [1, 2] {
        script.script().fail_verb("put_part", part, ErrorKind::Transient);
    }
    assert_ne!(world.sync(&backend).await.exit, 0);
    assert_eq!(bucket.unfinished_uploads(), 1);
    bucket.lose_uploads();
    let done = world.synced(&inner).await;
    assert_eq!((done.bytes.sent, bucket.unfinished_uploads()), (9 << 20, 0));
    world.comes_back(&inner).await;
}

/// A file that changed since is not pieced together from two states, and its old parts go.
#[tokio::test(flavor = "multi_thread")]
async fn parts_of_a_file_that_changed_are_thrown_away() {
    let world = World::new();
    let (bucket, inner) = memory("stale");
    world.write("big", &vec![3; 40 << 20]);
    let (script, backend) = faulty(&inner);
    script.script().fail_verb("put_part", 4, ErrorKind::Transient);
    assert_ne!(world.sync(&backend).await.exit, 0);
    world.write("big", &vec![4; 40 << 20]);
    world.synced(&inner).await;
    assert_eq!(bucket.unfinished_uploads(), 0);
    world.comes_back(&inner).await;
}

/// An upload that no journal names is found by a listing and goes; somebody else's stays.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_no_journal_names_is_given_up_after_a_killed_run() {
    let world = World::new();
    let (bucket, inner) = memory("nameless");
    world.write("small", b"small");
    world.synced(&inner).await;
    world.write("deep/big", &vec![3; 40 << 20]);
    let (script, backend) = faulty(&inner);
    script.script().fail_verb("put_part", 4, ErrorKind::Transient);
    assert_ne!(world.sync(&backend).await.exit, 0);
    let foreign = inner.multipart().unwrap().create_multipart(&"deep/of another tool".into()).await.unwrap();
    assert_eq!(bucket.unfinished_uploads(), 2);
    // Killed before it had written down what it had begun.
    for dir in fs::read_dir(world.path("cache")).unwrap() {
        let _ = fs::remove_file(dir.unwrap().path().join("journal"));
    }
    world.synced(&inner).await;
    assert_eq!(bucket.unfinished_uploads(), 1);
    inner.multipart().unwrap().abort_multipart(&"deep/of another tool".into(), &foreign).await.unwrap();
    world.comes_back(&inner).await;
}

/// The last request of a large upload fails: its parts are neither sent again nor left behind for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_completion_that_fails_is_tried_again_and_gone_on_with() {
    let world = World::new();
    let (bucket, inner) = memory("completed");
    world.write("big", &vec![3; 40 << 20]);
    let (script, backend) = faulty(&inner);
    script.script().fail_verb("complete_multipart", 1, ErrorKind::Transient);
    let done = world.synced(&backend).await;
    assert_eq!((done.bytes.sent, bucket.unfinished_uploads()), (40 << 20, 0));
    world.comes_back(&inner).await;
    // It fails for good: the parts stay, and the next run only completes.
    world.write("big", &vec![4; 40 << 20]);
    script.script().reset();
    for nth in 1..=4 {
        script.script().fail_verb("complete_multipart", nth, ErrorKind::Transient);
    }
    assert_ne!(world.sync(&backend).await.exit, 0);
    assert_eq!(bucket.unfinished_uploads(), 1);
    script.script().reset();
    world.synced(&backend).await;
    assert_eq!(script.calls().iter().filter(|call| call.verb == "put_part").count(), 0);
    assert_eq!(bucket.unfinished_uploads(), 0);
    world.comes_back(&inner).await;
}

/// A refusal that will not change: the parts go.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_can_never_be_completed_is_aborted() {
    let world = World::new();
    let (bucket, inner) = memory("never");
    world.write("big", &vec![3; 17 << 20]);
    let (script, backend) = faulty(&inner);
    script.script().fail_verb("complete_multipart", 1, ErrorKind::Other);
    assert_ne!(world.sync(&backend).await.exit, 0);
    assert_eq!(bucket.unfinished_uploads(), 0);
    world.synced(&inner).await;
    world.comes_back(&inner).await;
}

/// The upload was completed and nobody heard of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_completion_whose_answer_was_lost() {
    let world = World::new();
    let (bucket, inner) = memory("unheard");
    world.write("big", &vec![3; 17 << 20]);
    let (script, backend) = faulty(&inner);
    script.script().lose_answer("complete_multipart", 1, ErrorKind::Transient);
    world.synced(&backend).await;
    assert_eq!(bucket.unfinished_uploads(), 0);
    world.comes_back(&inner).await;
}

/// Files that had arrived are not sent again.
#[tokio::test(flavor = "multi_thread")]
async fn small_files_that_arrived_are_not_sent_again() {
    let world = World::new();
    let (_, inner) = memory("arrived");
    for i in 0..200 {
        world.write(&format!("{i:03}"), &[1; 1000]);
    }
    let (script, backend) = faulty(&inner);
    script.script().fail_verb("put", 150, ErrorKind::Transient);
    assert_ne!(world.sync(&backend).await.exit, 0);
    let done = world.synced(&inner).await;
    assert!(done.resumed >= 100 && done.bytes.sent <= 100_000, "{} resumed, {:?}", done.resumed, done.bytes);
    world.comes_back(&inner).await;
    let keys: BTreeMap<_, _> = tree(&world.source());
    assert_eq!(keys.len(), 200);
}

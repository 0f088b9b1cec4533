//! Stopped at every storage call for longer than a lease lives, while another writer commits: what the other one
//! committed stays whole, byte for byte, whatever the first one was about to do.
//!
//! A process gets SIGSTOP, a laptop sleeps, a virtual machine is moved, a mount hangs: to the writer all of it is one
//! call that takes minutes.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use chrono::TimeDelta;
use offsite::engine::{self, Machine, Outcome, PullOptions, RunControl};
use offsite::model::{KeepRules, Sample};
use offsite_backends::Backend;
use offsite_backends::testing::{Faulty, MemoryBackend, MemoryOptions};

use crate::harness::*;

/// Longer than a lease lives.
const STOPPED: Duration = Duration::from_secs(200);

/// Where the two writers meet.
struct Place {
    world: World,
    inner: Arc<dyn Backend>,
    bucket: Option<MemoryBackend>,
}

type Make = dyn Fn(&World) -> (Arc<dyn Backend>, Option<MemoryBackend>);

impl Place {
    fn other(&self) -> PathBuf {
        self.world.path("other-source")
    }

    /// The store's clock goes on as well: the lease has run out by it.
    fn time_passes(&self) {
        if let Some(bucket) = &self.bucket {
            bucket.set_clock_offset(TimeDelta::from_std(STOPPED).unwrap());
        }
        let lease = self.world.path("destination").join(named(".offsite/lease.json"));
        if let Ok(file) = fs::File::options().write(true).open(&lease) {
            file.set_modified(SystemTime::now() - STOPPED).unwrap();
        }
    }

    async fn other_sync(&self) -> Outcome {
        let opened = vec![(String::new(), Ok(Arc::clone(&self.inner)))];
        let machine: Machine = self.world.elsewhere("other-cache");
        engine::sync_over(&machine, &self.other(), opened, &self.world.options, &RunControl::new(1)).await.destinations.remove(0)
    }
}

fn write(root: &Path, name: &str, content: &[u8]) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// What both begin with, and what each of them makes of it.
async fn told(make: &Make, keep: KeepRules) -> Place {
    let mut world = World::new();
    world.options.keep = keep;
    let (inner, bucket) = make(&world);
    let source = world.source();
    for i in 0..4 {
        write(&source, &format!("dir/{i}"), format!("first {i}").as_bytes());
    }
    write(&source, "goes", b"removed by the one, changed by the other");
    write(&source, "kind", b"a file");
    write(&source, "big", &vec![1; 9 << 20]);
    std::os::unix::fs::symlink("nowhere", source.join("link")).unwrap();
    world.synced(&inner).await;
    let place = Place { world, inner, bucket };
    let cp = |to: &Path| assert!(std::process::Command::new("cp").arg("-a").arg(&source).arg(to).status().unwrap().success());
    cp(&place.other());
    for (root, who) in [(&source, "one"), (&place.other(), "two")] {
        for i in 0..3 {
            write(root, &format!("dir/{i}"), format!("second, by {who} {i}").as_bytes());
        }
        write(root, &format!("new/{who}"), b"new");
        write(root, "new/both", who.as_bytes());
        write(root, "big", &vec![if who == "one" { 2 } else { 3 }; 9 << 20]);
        fs::remove_file(root.join("link")).unwrap();
        std::os::unix::fs::symlink(who, root.join("link")).unwrap();
    }
    fs::remove_file(source.join("goes")).unwrap();
    fs::remove_file(source.join("kind")).unwrap();
    write(&source, "kind/is a directory", b"now");
    fs::rename(source.join("dir/3"), source.join("renamed")).unwrap();
    write(&place.other(), "goes", b"changed by the other");
    place
}

/// How many storage calls the run makes that is to be stopped.
async fn calls(make: &Make, keep: KeepRules) -> u64 {
    let place = told(make, keep).await;
    let (script, backend) = faulty(&place.inner);
    place.world.synced(&backend).await;
    script.count()
}

async fn until(done: impl Fn() -> bool) {
    while !done() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn stopped_at(n: u64, make: &Make, keep: KeepRules) {
    let place = told(make, keep).await;
    let (script, backend): (Arc<Faulty>, _) = faulty(&place.inner);
    script.script().pause_at(n);
    let other = async {
        until(|| script.script().is_paused()).await;
        place.time_passes();
        let outcome = place.other_sync().await;
        script.script().sleep(STOPPED).go_on();
        outcome
    };
    let (stopped, other) = tokio::join!(place.world.sync(&backend), other);
    assert_eq!((other.exit, &other.error), (0, &None), "stopped at {n}: {other:?}");
    // Its own snapshot comes back whatever came after it: one that was stopped before it had looked may well go on.
    let at = PullOptions { at: other.snapshot.map(|number| number.to_string()), ..PullOptions::default() };
    whole(&place, n, &at).await;
    if stopped.exit != 0 || stopped.snapshot < other.snapshot {
        whole(&place, n, &PullOptions::default()).await;
    }
    let again = place.other_sync().await;
    assert_eq!((again.exit, &again.error), (0, &None), "stopped at {n}: {again:?}");
    whole(&place, n, &PullOptions::default()).await;
}

/// What the other one committed is what comes back.
async fn whole(place: &Place, n: u64, options: &PullOptions) {
    let target = format!("after-{n}");
    let pulled = place.world.pull(&place.inner, &target, options).await.unwrap();
    assert_eq!(pulled.problems, Sample::default(), "stopped at {n}");
    same_trees(&place.other(), &place.world.path(&target));
    fs::remove_dir_all(place.world.path(&target)).unwrap();
}

async fn stopped_everywhere(what: &str, make: &Make, keep: KeepRules) {
    let total = calls(make, keep.clone()).await;
    assert!(total >= either(20, 7), "{what}: {total}");
    for n in 1..=total {
        stopped_at(n, make, keep.clone()).await;
    }
    println!("stop matrix: {what}: stopped at each of {total} calls");
}

fn within(seconds: u64) -> KeepRules {
    KeepRules { within: Some(seconds), ..KeepRules::default() }
}

fn month() -> KeepRules {
    within(30 * 86_400)
}

fn bucket(options: MemoryOptions) -> (Arc<dyn Backend>, Option<MemoryBackend>) {
    let (bucket, backend) = memory_with("stopped", options);
    (backend, Some(bucket))
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_at_every_call_on_an_object_store() {
    stopped_everywhere("object store", &|_| bucket(MemoryOptions::default()), month()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_at_every_call_where_the_bucket_keeps_versions() {
    stopped_everywhere("versions", &|_| bucket(MemoryOptions { versions: true, ..MemoryOptions::default() }), month()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_at_every_call_where_nothing_is_kept() {
    stopped_everywhere("nothing kept", &|_| bucket(MemoryOptions::default()), within(0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_at_every_call_in_a_directory() {
    stopped_everywhere("directory", &|world| (world.file("destination"), None), month()).await;
}

/// Nobody came while it was stopped: the run looks at its lease and goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_slept_goes_on_if_nobody_came() {
    let makes: [&Make; 2] = [&|_| bucket(MemoryOptions::default()), &|world| (world.file("destination"), None)];
    for make in makes {
        for n in either([8, 14, 20], [3, 5, 7]) {
            let place = told(make, month()).await;
            let (script, backend) = faulty(&place.inner);
            script.script().pause_at(n);
            let wake = async {
                until(|| script.script().is_paused()).await;
                script.script().sleep(STOPPED).go_on();
            };
            let (slept, ()) = tokio::join!(place.world.sync(&backend), wake);
            assert_eq!((slept.exit, &slept.error), (0, &None), "stopped at {n}: {slept:?}");
            place.world.comes_back(&place.inner).await;
        }
    }
}

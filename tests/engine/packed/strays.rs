//! Packs that were sent in vain: the machine that sent them deletes them, and never one that a snapshot names.

use std::fs;
use std::sync::Arc;

use bytes::Bytes;
use offsite::engine::{self, Destination, PruneOutcome, RunControl};
use offsite::transfer::{DumpChunk, Source, Stop};
use offsite_backends::{Backend, ErrorKind};
use tokio::sync::mpsc::Sender;

use super::objects::Objects;
use super::{exact, last, many_pieces, noise, prune};
use crate::check::check;
use crate::dumps::dump;
use crate::harness::*;

/// So many bytes that do not shrink, and then the word that they are whole, or why not.
#[derive(Debug)]
pub struct Noise(pub usize, pub Result<(), String>);

impl Source for Noise {
    fn start(&self, to: Vec<Sender<DumpChunk>>, _: Arc<Stop>) {
        let (content, end) = (Bytes::from(noise(1_000, self.0)), self.1.clone());
        tokio::spawn(async move {
            for to in &to {
                for at in (0..content.len()).step_by(1 << 20) {
                    let _ = to.send(DumpChunk::Block(content.slice(at..content.len().min(at + (1 << 20))))).await;
                }
                let _ = to.send(DumpChunk::End(end.clone())).await;
            }
        });
    }
}

/// A first snapshot, and a run that is cut off after it has sent its packs and before its pages.
async fn cut_off(world: &World, name: &str, change: impl Fn(&World)) -> Arc<dyn Backend> {
    let (_, inner) = memory(name);
    world.write("stays", &noise(1, 3_000));
    world.synced(&inner).await;
    change(world);
    let (script, backend) = faulty(&inner);
    // The lease and the snapshot are the first two that are created.
    script.script().fail_verb("create", 2, ErrorKind::Denied);
    assert_ne!(world.sync(&backend).await.exit, 0);
    assert!(Objects::of(&inner).await.packs().len() > 1, "nothing was sent");
    inner
}

#[tokio::test(flavor = "multi_thread")]
async fn of_files_that_are_gone_before_the_next_run() {
    let world = World::packed();
    let inner = cut_off(&world, "gone", |world| {
        world.write("new", &noise(2, 3_000));
        world.write("listed", &many_pieces(1, 34));
    })
    .await;
    world.remove("new");
    world.remove("listed");
    world.synced(&inner).await;
    exact(&Objects::of(&inner).await, "the new files are gone");
    world.comes_back(&inner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_files_that_have_changed_before_the_next_run() {
    let world = World::packed();
    let inner = cut_off(&world, "changed", |world| world.write("stays", &noise(2, 3_000))).await;
    world.write("stays", &noise(3, 3_000));
    world.synced(&inner).await;
    exact(&Objects::of(&inner).await, "the file has changed again");
    world.comes_back(&inner).await;
}

/// One of two files in a pack is gone: the pack stays for the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_pack_of_which_something_is_used_stays() {
    let world = World::packed();
    let inner = cut_off(&world, "half", |world| {
        world.write("one", &noise(2, 3_000));
        world.write("two", &noise(3, 3_000));
    })
    .await;
    let sent = Objects::of(&inner).await.packs();
    world.remove("one");
    assert_eq!(world.synced(&inner).await.bytes.sent, 0);
    let objects = Objects::of(&inner).await;
    assert_eq!(objects.packs(), sent);
    exact(&objects, "one is gone");
    world.comes_back(&inner).await;
}

/// Another machine took over meanwhile. What the first one sent is not used, and goes when that one comes back.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_run_that_another_machine_overtook() {
    let world = World::packed();
    let inner = cut_off(&world, "overtaken", |world| world.write("new", &noise(2, 3_000))).await;
    let other = World { machine: world.elsewhere("elsewhere"), ..World::packed() };
    other.write("stays", &noise(1, 3_000));
    other.write("new", &noise(2, 3_000));
    other.write("another", &noise(4, 3_000));
    other.synced(&inner).await;
    Objects::of(&inner).await.nothing_is_missing("after the other");
    assert!(check(&world, &inner).await.foreign >= 1, "a check names what no snapshot needs");
    world.synced(&inner).await;
    world.comes_back(&inner).await;
    exact(&Objects::of(&inner).await, "after its return");
}

/// A dump that its source takes back leaves nothing, even if there was nothing else to do.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_dump_that_failed() {
    for other in [false, true] {
        for size in [1 << 20, 40 << 20] {
            let mut world = World::packed();
            let (_, inner) = memory("dump");
            world.write("stays", &noise(1, 3_000));
            world.synced(&inner).await;
            if other {
                world.write("other", &noise(2, 3_000));
            }
            world.options.dumps = vec![dump(Noise(size, Err("it died".into())))];
            assert_eq!(world.sync(&inner).await.exit, 1);
            exact(&Objects::of(&inner).await, &format!("{size} bytes of a dump, other changes: {other}"));
        }
    }
}

/// The packs of a dump that failed are deleted at once. If the run is then cut off, the next one must not count on them.
#[tokio::test(flavor = "multi_thread")]
async fn pieces_of_a_failed_dump_are_not_known_to_the_next_run() {
    let mut world = World::packed();
    let (_, inner) = memory("not-known");
    world.write("stays", &noise(1, 3_000));
    world.synced(&inner).await;
    world.write("other", &noise(2, 3_000));
    world.options.dumps = vec![dump(Noise(40 << 20, Err("it died".into())))];
    let (script, backend) = faulty(&inner);
    script.script().fail_verb("create", 2, ErrorKind::Denied);
    assert_eq!(world.sync(&backend).await.exit, 1);
    world.options.dumps = vec![dump(Noise(40 << 20, Ok(())))];
    assert_eq!(world.sync(&inner).await.exit, 0);
    exact(&Objects::of(&inner).await, "the dump came the second time");
}

/// What an interrupted prune did not delete goes with the next one.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_prune_that_was_refused() {
    let world = World::packed();
    let (_, inner) = memory("prune");
    for state in 0..4 {
        world.write("f", &noise(state, 5_000));
        world.synced(&inner).await;
    }
    let (script, backend) = faulty(&inner);
    let doomed = Objects::of(&inner).await.named_by(2);
    for key in &doomed {
        script.script().refuse(key, ErrorKind::Transient);
    }
    let _ = prune(&world, &backend, &last(1)).await;
    prune(&world, &inner, &last(1)).await.unwrap();
    exact(&Objects::of(&inner).await, "after the second prune");
    world.comes_back(&inner).await;
}

/// A file that is read while it changes is sent as it was in the end, and nothing else is left.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_run_whose_files_went_while_it_read_them() {
    let world = World::packed();
    let (_, inner) = memory("vanished");
    for i in 0..5 {
        world.write(&format!("{i}"), &noise(i, 3_000));
    }
    world.synced(&inner).await;
    world.write("3", &noise(77, 3_000));
    let (script, backend) = faulty(&inner);
    script.script().delay(std::time::Duration::from_millis(150));
    let path = world.source().join("3");
    let remove = async {
        while script.count() < 2 {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        fs::remove_file(path).unwrap();
    };
    let (outcome, ()) = tokio::join!(world.sync(&backend), remove);
    assert!([0, 3].contains(&outcome.exit), "{outcome:?}");
    world.synced(&inner).await;
    exact(&Objects::of(&inner).await, "after it");
    world.comes_back(&inner).await;
}

async fn prune_strays(world: &World, backend: &Arc<dyn Backend>, dry_run: bool) -> offsite::error::Result<PruneOutcome> {
    let destination = Destination::over(Arc::clone(backend), &world.machine)?;
    engine::prune_strays_over(destination, &world.machine, dry_run, &RunControl::new(1)).await
}

/// The machine that sent them, and its cache, are lost.
#[tokio::test(flavor = "multi_thread")]
async fn strays_go_only_if_they_are_old_and_nothing_names_them() {
    let mut world = World::packed();
    let (bucket, inner) = memory("lost-for-good");
    world.write("stays", &noise(1, 3_000));
    world.synced(&inner).await;
    world.write("goes", &noise(2, 4_000));
    world.synced(&inner).await;
    world.remove("goes");
    world.synced(&inner).await;
    world.write("new", &noise(3, 3_000));
    let (script, backend) = faulty(&inner);
    script.script().fail_verb("create", 2, ErrorKind::Denied);
    assert_ne!(world.sync(&backend).await.exit, 0);
    let named = Objects::of(&inner).await.named();
    world.machine = world.elsewhere("second");
    bucket.set_clock_offset(chrono::TimeDelta::hours(47));
    assert_eq!(prune_strays(&world, &inner, false).await.unwrap().strays, Some(0), "too young");
    bucket.set_clock_offset(chrono::TimeDelta::hours(49));
    // Another machine is at work: as long as it has the lease, nothing goes.
    let other = World { machine: world.elsewhere("third"), dir: tempfile::tempdir().unwrap(), options: World::packed().options };
    fs::create_dir(other.source()).unwrap();
    other.write("stays", &noise(5, 3_000));
    let (script, backend) = faulty(&inner);
    let leased = || bucket.keys().iter().any(|key| key.ends_with("lease.json"));
    for call in 3.. {
        script.script().stop_at(call);
        other.sync(&backend).await;
        if leased() {
            break;
        }
        script.script().reset();
    }
    let busy = prune_strays(&world, &inner, false).await;
    assert!(matches!(busy, Err(offsite::error::Error::Busy(_))), "{busy:?}");
    script.script().reset();
    assert_eq!(other.sync(&backend).await.exit, 0);
    let planned = prune_strays(&world, &inner, true).await.unwrap();
    assert_eq!((planned.strays, planned.dry_run), (Some(1), true));
    let pruned = prune_strays(&world, &inner, false).await.unwrap();
    assert_eq!((pruned.strays, pruned.bytes, pruned.kept), (Some(1), planned.bytes, vec![1, 2, 3, 4]));
    let objects = Objects::of(&inner).await;
    exact(&objects, "without the stray");
    assert!(named.is_subset(&objects.packs()));
    assert_eq!(prune_strays(&world, &inner, false).await.unwrap().strays, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn strays_stay_if_a_manifest_cannot_be_read() {
    let mut world = World::packed();
    let (bucket, inner) = memory("unread-manifest");
    world.write("stays", &noise(1, 3_000));
    world.synced(&inner).await;
    let page = Objects::of(&inner).await.0.keys().find(|key| key.contains("/pages/")).unwrap().clone();
    world.write("stays", &noise(2, 3_000));
    world.synced(&inner).await;
    object_store::ObjectStoreExt::delete(&*inner.store(), &page.as_str().into()).await.unwrap();
    let packs = Objects::of(&inner).await;
    world.machine = world.elsewhere("second");
    bucket.set_clock_offset(chrono::TimeDelta::days(3));
    assert!(prune_strays(&world, &inner, false).await.is_err());
    assert_eq!(Objects::of(&inner).await.packs(), packs.packs());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_has_no_strays() {
    let mut world = World::packed();
    world.options.layout = None;
    let (_, backend) = memory("mirror");
    world.write("a", b"a");
    world.synced(&backend).await;
    let refused = prune_strays(&world, &backend, false).await.unwrap_err().to_string();
    assert!(refused.contains("it is a mirror"), "{refused}");
}

//! Copies that are interrupted, that meet lost contents, other owners and wrong times.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use chrono::TimeDelta;
use offsite::engine::{self, CopyOptions, CopySelection, Destination, Machine, RunControl, SyncOptions};
use offsite::manifest::PageSource;
use offsite::model::{KeepRules, Sample};
use offsite_backends::testing::MemoryBackend;

use crate::copy::*;
use crate::harness::*;

/// A small story for what is done at every call.
async fn small(form: Form) -> Story {
    Story::told(form, |world| place(world, "from", false), 200_000).await
}

async fn aged(form: Form) -> Story {
    let (bucket, from) = memory(&format!("aged-{:016x}", rand()));
    bucket.set_clock_offset(TimeDelta::hours(-1));
    let story = Story::told(form, |_| from, 200_000).await;
    bucket.set_clock_offset(TimeDelta::zero());
    story
}

async fn killed_everywhere(from: Form, to: Form, directory: bool) {
    // An hour ago, so that the time of a copy is another one.
    let story = aged(from).await;
    let options = to_options(&story.world, to);
    let total = {
        let (script, backend) = faulty(&place(&story.world, "count", directory));
        copied(story.copy(&backend, &options).await, &[1, 2, 3]);
        script.count()
    };
    assert!(total > 30, "{total}");
    for n in 1..=total {
        let inner = place(&story.world, &format!("killed-{n}"), directory);
        let (script, backend) = faulty(&inner);
        script.script().stop_at(n);
        let broken = story.copy(&backend, &options).await;
        let whole = broken.as_ref().is_ok_and(|outcome| outcome.error.is_none());
        let done = story.copy(&inner, &options).await.unwrap();
        assert_eq!((done.exit, &done.error), (0, &None), "call {n}: {done:?} after {broken:?}");
        assert!(done.copied.len() < 4 && (!whole || done.copied.is_empty()), "call {n}: {done:?}");
        if n % 7 == 0 || n + 12 > total {
            story.is_at(&inner, &format!("call {n}")).await;
        } else {
            let machine = Machine { cache_dir: story.world.path(&format!("look-{:016x}", rand())), ..copier(&story.world) };
            let (a, b) = (open(&story.from, &machine).await, open(&inner, &machine).await);
            assert_eq!(times(&a).await, times(&b).await, "call {n}");
            for number in 1..=3 {
                assert_eq!(entries(&a, number).await.1, entries(&b, number).await.1, "call {n}");
            }
        }
        if directory {
            fs::remove_dir_all(story.world.path(&format!("killed-{n}"))).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_call_to_a_mirror() {
    killed_everywhere(Form::Packed, Form::Mirror, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_call_to_a_packed_one() {
    killed_everywhere(Form::Mirror, Form::Packed, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_call_to_a_directory() {
    killed_everywhere(Form::Packed, Form::Mirror, true).await;
}

/// The destination that is copied is only read.
#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_only_read_are_enough() {
    for form in [Form::Mirror, Form::Sealed] {
        let mut story = small(form).await;
        let (script, backend) = faulty(&story.from);
        story.from = backend;
        let (_, to) = memory("to");
        copied(story.copy(&to, &to_options(&story.world, Form::Packed)).await, &[1, 2, 3]);
        let wrote: Vec<_> =
            script.calls().into_iter().filter(|call| !["get", "head", "list", "read", "stat", "now"].contains(&call.verb)).collect();
        assert!(wrote.is_empty(), "{wrote:?}");
    }
}

/// What a copy does with a content of snapshot 2 that is lost there.
async fn with_a_loss(form: Form, lose: impl Fn(&MemoryBackend, &Story)) {
    let (bucket, from) = memory(&format!("lossy-{:016x}", rand()));
    let story = Story::told(form, |_| from, 200_000).await;
    lose(&bucket, &story);
    let (_, to) = memory("to");
    let options = to_options(&story.world, Form::Mirror);
    let outcome = story.copy(&to, &options).await.unwrap();
    assert_eq!((outcome.exit, outcome.stopped_before), (1, Some(2)), "{outcome:?}");
    assert_eq!(outcome.copied.iter().map(|one| one.from).collect::<Vec<_>>(), [1]);
    let paths = |of: &Sample<offsite::model::Problem>| {
        let mut paths: Vec<String> = of.first().iter().map(|problem| problem.path.to_string()).collect();
        paths.sort();
        paths
    };
    let lost = paths(&outcome.lost);
    assert!(lost.contains(&"same size".to_owned()), "{lost:?}");
    assert!(outcome.error.unwrap().contains("snapshot 2 of "));

    let skipping = CopyOptions { skip_damaged: true, ..options };
    let outcome = story.copy(&to, &skipping).await.unwrap();
    assert_eq!((outcome.exit, &outcome.error), (3, &None), "{outcome:?}");
    assert_eq!(paths(&outcome.copied[0].omitted), lost);
    let machine = Machine { cache_dir: story.world.path("look"), ..copier(&story.world) };
    let (a, b) = (open(&story.from, &machine).await, open(&to, &machine).await);
    let ((_, mut there), (snapshot, here)) = (entries(&a, 2).await, entries(&b, 2).await);
    there.retain(|path, _| !lost.contains(path));
    assert_eq!(there, here, "the last good content does not take the place of a lost one");
    assert_eq!(paths(&snapshot.unread), lost);
    let checked =
        engine::check_over(b, &machine, &engine::CheckOptions { read_data: Some(1.0), ..Default::default() }, &RunControl::new(1))
            .await
            .unwrap();
    assert_eq!(checked.exit, 0, "{checked:?}");
    let (_, first) = entries(&open(&to, &machine).await, 1).await;
    assert!(first.contains_key("same size"), "the snapshot before still has the file");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_content_that_a_mirror_lost() {
    with_a_loss(Form::Mirror, |bucket, _| assert!(bucket.lose("same size"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_content_that_is_another_one() {
    with_a_loss(Form::Mirror, |bucket, _| drop(bucket.plant("same size", "no content!"))).await;
}

/// The pack with the contents that the second run sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_pack_that_is_damaged() {
    with_a_loss(Form::Packed, |bucket, story| {
        let source = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                let machine = Machine { cache_dir: story.world.path("look-first"), ..copier(&story.world) };
                let from = open(&story.from, &machine).await;
                let (snapshot, _) = from.records.snapshot(2).await.unwrap();
                let pages = PageSource::new(from.records.clone());
                let (leaves, ..) = pages.leaves(&snapshot, |_, _| true).await.unwrap();
                let mut pack = None;
                pages
                    .read(leaves, |leaf| {
                        let found = leaf.unwrap().entries.into_iter().find(|entry| entry.path.to_string() == "same size");
                        pack = pack.take().or(found.and_then(|entry| Some(entry.content?.at?.pack.to_string())));
                        Ok(ControlFlow::Continue(()))
                    })
                    .await
                    .unwrap();
                pack.unwrap()
            })
        });
        let key = bucket.keys().into_iter().find(|key| key.contains(&source)).unwrap();
        let length = bucket.content(&key).unwrap().len();
        bucket.plant(&key, vec![0; length]);
    })
    .await;
}

/// Large files are read in the same way, also where a newer content of the same length has the name.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_large_content_in_a_directory() {
    let world = World::new();
    let from = world.file("from");
    for seed in 1..=3 {
        world.write("image", &noise(seed, 21 << 20));
        world.synced(&from).await;
        keep_state(&world, STATES[seed as usize - 1]);
    }
    let story = Story { world, from };
    let (_, to) = memory("to");
    copied(story.copy(&to, &to_options(&story.world, Form::Mirror)).await, &[1, 2, 3]);
    story.is_at(&to, "large").await;
    // A kept content that is lost is not replaced by the one that has its name now.
    let kept = walk(&story.world.path("from/.offsite/kept")).into_iter().find(|path| path.contains("/image")).unwrap();
    fs::remove_file(&kept).unwrap();
    let (_, other) = memory("other");
    let outcome = story.copy(&other, &to_options(&story.world, Form::Packed)).await.unwrap();
    assert_eq!((outcome.exit, outcome.lost.total()), (1, 1), "{outcome:?}");
}

fn walk(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(walk(&path)) } else { found.push(path.display().to_string()) }
    }
    found.sort();
    found
}

/// Snapshots that expired there do not matter, and those that were copied stay.
#[tokio::test(flavor = "multi_thread")]
async fn a_pruned_destination_is_copied_on() {
    let story = small(Form::Packed).await;
    let (_, to) = memory("to");
    let options = to_options(&story.world, Form::Mirror);
    let first = CopyOptions { select: CopySelection::Numbers(vec![1..=1]), ..options.clone() };
    copied(story.copy(&to, &first).await, &[1]);
    let rules = KeepRules { last: 1, ..KeepRules::default() };
    let pruned =
        engine::prune_over(open(&story.from, &story.world.machine).await, &story.world.machine, &rules, false, &RunControl::new(1))
            .await
            .unwrap();
    assert_eq!(pruned.removed, [1, 2]);
    let done = copied(story.copy(&to, &options).await, &[3]);
    assert_eq!(done.copied[0].to, Some(2));
    let machine = Machine { cache_dir: story.world.path("look"), ..copier(&story.world) };
    let (a, b) = (open(&story.from, &machine).await, open(&to, &machine).await);
    assert_eq!(entries(&a, 3).await.1, entries(&b, 2).await.1);
}

/// The store fails while contents are read: that is no lost content, and the next copy goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_ends_the_copy() {
    let mut story = small(Form::Mirror).await;
    let whole = Arc::clone(&story.from);
    let (script, backend) = faulty(&whole);
    story.from = backend;
    let (_, counted) = memory("counted");
    copied(story.copy(&counted, &to_options(&story.world, Form::Packed)).await, &[1, 2, 3]);
    let total = script.count();
    for n in (1..=total).step_by(5) {
        let (script, backend) = faulty(&whole);
        script.script().stop_at(n);
        let broken = Story { from: backend, world: World::new() };
        let (_, to) = memory(&format!("to-{n}"));
        let machine = copier(&story.world);
        let options = to_options(&story.world, Form::Packed);
        match copy(&machine, &broken.from, &to, &options).await {
            Ok(outcome) => assert!(outcome.lost.is_empty() && outcome.gone.is_empty() && outcome.exit == 1, "{n}: {outcome:?}"),
            Err(error) => assert_eq!(error.exit_code(), 1, "{n}: {error}"),
        }
        let done = copy(&machine, &whole, &to, &options).await.unwrap();
        assert_eq!((done.exit, &done.error), (0, &None), "{n}: {done:?}");
    }
}

/// Times of copied snapshots are those of the original ones, for `--at` and for retention, on every machine.
#[tokio::test(flavor = "multi_thread")]
async fn the_times_are_those_of_the_original() {
    for to_form in [Form::Mirror, Form::Sealed] {
        let (bucket, from) = memory(&format!("old-{:016x}", rand()));
        let world = World::new();
        for day in [-9, -6, -3] {
            bucket.set_clock_offset(TimeDelta::days(day));
            world.write("file", format!("day {day}").as_bytes());
            world.synced(&from).await;
        }
        bucket.set_clock_offset(TimeDelta::zero());
        let story = Story { world, from };
        let (to_bucket, to) = memory(&format!("copy-{:016x}", rand()));
        let to_these = to_options(&story.world, to_form);
        copied(story.copy(&to, &to_these).await, &[1, 2, 3]);
        let machine = Machine { cache_dir: story.world.path("elsewhere"), ..copier(&story.world) };
        let mut page = Vec::new();
        engine::cat_over(&open(&to, &machine).await.records, "file", Some("5d"), &mut page).await.unwrap();
        assert_eq!(page, b"day -6");
        let lines = |of: &Destination| {
            let records = of.records.clone();
            async move { engine::history_over(&records, "file").await.unwrap() }
        };
        let (a, b) = (lines(&open(&story.from, &machine).await).await, lines(&open(&to, &machine).await).await);
        assert_eq!(a, b);
        let rules = KeepRules { daily: 2, ..KeepRules::default() };
        let writer = copier(&story.world);
        let planned = engine::prune_over(open(&to, &writer).await, &writer, &rules, true, &RunControl::new(1)).await.unwrap();
        assert_eq!((planned.removed, planned.kept), (vec![1], vec![2, 3]), "by the store's times all are of one day");

        // Without the list of times, everything can be read, and nothing expires.
        let key = to_bucket.keys().into_iter().find(|key| key.contains("snapshots/times")).unwrap();
        to_bucket.plant(&key, "nonsense");
        assert_eq!(engine::snapshots_over(&open(&to, &machine).await.records).await.unwrap().snapshots.len(), 3);
        let refused = engine::prune_over(open(&to, &writer).await, &writer, &rules, true, &RunControl::new(1)).await;
        assert!(refused.unwrap_err().to_string().contains("times.json"));
        // The next copy begins it again.
        copied(story.copy(&to, &to_these).await, &[]);
        to_bucket.lose(&key);
        let refused = engine::prune_over(open(&to, &writer).await, &writer, &rules, true, &RunControl::new(1)).await;
        assert!(refused.unwrap_err().to_string().contains("times.json"));
        copied(story.copy(&to, &to_these).await, &[]);
        let contents =
            |bucket: &MemoryBackend| bucket.keys().iter().filter(|key| key.contains("/kept/") || key.contains("/packs/")).count();
        let before = contents(&to_bucket);
        let pruned = engine::prune_over(open(&to, &writer).await, &writer, &rules, false, &RunControl::new(1)).await.unwrap();
        assert_eq!(pruned.removed, [1]);
        assert_eq!(contents(&to_bucket), before - 1, "what only that snapshot needed is deleted, although it is younger than the snapshot");
        let checked =
            engine::check_over(open(&to, &machine).await, &machine, &engine::CheckOptions::default(), &RunControl::new(1)).await.unwrap();
        assert_eq!((checked.exit, checked.foreign), (0, 0), "{checked:?}");
    }
}

/// A copy writes only to its own destinations, and a sync of the original source may go on there.
#[tokio::test(flavor = "multi_thread")]
async fn whose_destination_it_is() {
    let story = small(Form::Mirror).await;
    let careful = |form| {
        let mut options = to_options(&story.world, form);
        options.writing.limits.take_over = false;
        options
    };
    // One that a sync made.
    let (_, synced) = memory("synced");
    story.world.synced(&synced).await;
    let error = story.copy(&synced, &careful(Form::Mirror)).await.unwrap_err();
    assert_eq!((error.exit_code(), error.to_string().contains("was not copied from")), (4, true), "{error}");
    let done = copied(story.copy(&synced, &to_options(&story.world, Form::Mirror)).await, &[1, 2, 3]);
    assert_eq!(done.copied[0].to, Some(2));
    // Itself.
    let error = story.copy(&story.from, &careful(Form::Mirror)).await.unwrap_err();
    assert_eq!(error.exit_code(), 2, "{error}");
    // The source goes on at the copy, and then the copy does not.
    let (_, to) = memory("to");
    copied(story.copy(&to, &careful(Form::Packed)).await, &[1, 2, 3]);
    let mut world = story.world;
    world.options.limits.take_over = false;
    world.options.layout = None;
    let quiet = world.synced(&to).await;
    assert_eq!((quiet.snapshot, quiet.changes.any(), quiet.bytes.sent), (Some(4), false, 0), "{quiet:?}");
    world.write("more", b"after the copy");
    world.synced(&to).await;
    world.comes_back(&to).await;
    let story = Story { world, from: story.from };
    let options = CopyOptions { writing: SyncOptions { layout: None, ..story.world.options.clone() }, ..CopyOptions::default() };
    let error = story.copy(&to, &options).await.unwrap_err();
    assert_eq!(error.exit_code(), 4, "{error}");
}

/// A writer who may not delete could write such a list, so that a prune deletes what should stay.
#[tokio::test(flavor = "multi_thread")]
async fn times_that_no_copy_wrote_delete_nothing() {
    let story = small(Form::Mirror).await;
    let (bucket, to) = memory("to");
    copied(story.copy(&to, &to_options(&story.world, Form::Mirror)).await, &[1, 2, 3]);
    let rules = KeepRules { within: Some(3600), ..KeepRules::default() };
    let machine = copier(&story.world);
    for times in ["[[1,5],[2,6],[3,7]]", "[[1,-9000000000000],[2,0],[3,18446744073]]"] {
        bucket.plant(".offsite/snapshots/times.json", format!("{{\"times\":{times}}}"));
        let planned = engine::prune_over(open(&to, &machine).await, &machine, &rules, true, &RunControl::new(1)).await.unwrap();
        assert!(planned.removed.is_empty(), "{times}: {planned:?}");
    }
    // Snapshots that a sync made, and a forged one that says that it is an old copy: it takes no day of the others.
    let (bucket, synced) = memory("synced");
    for day in [-9, -6] {
        bucket.set_clock_offset(TimeDelta::days(day));
        story.world.write("file", format!("day {day}").as_bytes());
        story.world.synced(&synced).await;
    }
    bucket.set_clock_offset(TimeDelta::zero());
    let (mut forged, _) = open(&synced, &machine).await.records.snapshot(2).await.unwrap();
    let time = (chrono::Utc::now() - TimeDelta::days(9) + TimeDelta::seconds(60)).timestamp();
    forged.number = 3;
    forged.copied = Some(offsite::model::CopiedFrom { destination: "x".into(), number: 1, time });
    bucket.plant(".offsite/snapshots/000000000003.json", serde_json::to_vec(&forged).unwrap());
    bucket.plant(".offsite/snapshots/times.json", format!("{{\"times\":[[1,1],[3,{time}]]}}"));
    let rules = KeepRules { daily: 7, ..KeepRules::default() };
    let elsewhere = story.world.elsewhere("pruner");
    let planned = engine::prune_over(open(&synced, &elsewhere).await, &elsewhere, &rules, true, &RunControl::new(1)).await.unwrap();
    assert!(planned.removed.is_empty(), "{planned:?}");
}

/// A prune may run where the snapshots are copied from. What it deletes is reported, and not copied in part.
#[tokio::test(flavor = "multi_thread")]
async fn a_prune_during_a_copy() {
    for form in [Form::Mirror, Form::Packed] {
        let total = {
            let story = small(form).await;
            let (script, backend) = faulty(&story.from);
            let options = to_options(&story.world, Form::Packed);
            copied(copy(&copier(&story.world), &backend, &memory("counted").1, &options).await, &[1, 2, 3]);
            script.count()
        };
        let mut gone = 0;
        for n in (2..=total).step_by(3) {
            let story = small(form).await;
            let (script, backend) = faulty(&story.from);
            script.script().pause_at(n);
            let (_, to) = memory("to");
            let (machine, options, target) = (copier(&story.world), to_options(&story.world, Form::Mirror), Arc::clone(&to));
            let copying = tokio::spawn(async move { copy(&machine, &backend, &target, &options).await });
            while !script.script().is_paused() {
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
            let rules = KeepRules { last: 1, ..KeepRules::default() };
            let pruner = story.world.elsewhere("pruner");
            engine::prune_over(open(&story.from, &pruner).await, &pruner, &rules, false, &RunControl::new(1)).await.unwrap();
            script.script().go_on();
            let outcome = copying.await.unwrap().unwrap();

            assert_eq!((outcome.exit, &outcome.error, outcome.lost.total()), (0, &None, 0), "{form:?} {n}: {outcome:?}");
            gone += outcome.gone.len();
            let machine = Machine { cache_dir: story.world.path("look"), ..copier(&story.world) };
            let (a, b) = (open(&story.from, &machine).await, open(&to, &machine).await);
            let newest = b.records.snapshots(None).await.unwrap().last().unwrap().number;
            assert_eq!(entries(&a, 3).await.1, entries(&b, newest).await.1, "{form:?} {n}");
            let options = engine::CheckOptions { read_data: Some(1.0), ..Default::default() };
            let checked = engine::check_over(b, &machine, &options, &RunControl::new(1)).await.unwrap();
            assert_eq!(checked.exit, 0, "{form:?} {n}: {checked:?}");
        }
        assert!(gone > 0, "{form:?}: no snapshot was deleted while it was copied");
    }
}

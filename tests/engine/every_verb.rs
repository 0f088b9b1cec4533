//! Every verb under every fault: each call fails once, each listing ends early once, each body is cut once.
//!
//! One rule for all of them: a verb that says it is well (exit 0) has said what it says on a sound store,
//! and the destination holds afterwards what it held. Sync, plan and apply have `crash.rs` besides.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use offsite::engine::{self, CheckOptions, Note, PullOptions, RepairOptions, ReportOptions, RunControl};
use offsite::error::Result;
use offsite::model::{KeepRules, Sample};
use offsite::plan::Prices;
use offsite_backends::testing::Script;
use offsite_backends::{Backend, ErrorKind, Initialize};

use crate::harness::*;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Verb {
    Snapshots,
    Ls,
    Diff,
    History,
    Cat,
    CatOld,
    RunControl,
    ReportByListing,
    Check,
    CheckReading,
    Pull,
    PullOld,
    Plan,
    InitCheck,
    Init,
    PruneDry,
    Prune,
    Repair,
}

const ALL: [Verb; 18] = [
    Verb::Snapshots,
    Verb::Ls,
    Verb::Diff,
    Verb::History,
    Verb::Cat,
    Verb::CatOld,
    Verb::RunControl,
    Verb::ReportByListing,
    Verb::Check,
    Verb::CheckReading,
    Verb::Pull,
    Verb::PullOld,
    Verb::Plan,
    Verb::InitCheck,
    Verb::Init,
    Verb::PruneDry,
    Verb::Prune,
    Verb::Repair,
];

/// How a script is told what goes wrong.
type Fault<'a> = &'a dyn Fn(&Script);

/// What a verb says, without times and counts of requests, and its exit code.
type Said = Result<(String, u8)>;

struct Scene {
    world: World,
    plain: Arc<dyn Backend>,
    place: &'static str,
}

impl Scene {
    /// Three states: files that change, go and come, one that is larger than a block.
    async fn new(place: &'static str) -> Self {
        let world = World::new();
        let plain = if place == "bucket" { memory("verbs").1 } else { world.file("destination") };
        for state in 1..=3u32 {
            world.write("changing", format!("state {state}").as_bytes());
            world.write(&format!("dir/only-in-{state}"), format!("{state}").as_bytes());
            if state > 1 {
                world.remove(&format!("dir/only-in-{}", state - 1));
            }
            world.write("large", &[7; 3 << 20]);
            world.synced(&plain).await;
            copy(&world.source(), &world.path(&format!("state-{state}")));
        }
        Self { world, plain, place }
    }

    /// The verb as a machine runs it that was there before.
    async fn said(&self, verb: Verb, backend: &Arc<dyn Backend>) -> Said {
        let destination = async || opened(backend, &self.world.machine).await;
        let records = destination().await?.records;
        let mut out = Vec::new();
        let well = |said: String| Ok((said, 0));
        match verb {
            Verb::Snapshots => well(serde_json::to_string(&engine::snapshots_over(&records).await?).unwrap()),
            Verb::Ls => {
                let mut lines = Vec::new();
                let mut sink = |line| {
                    lines.push(serde_json::to_string(&line).unwrap());
                    Ok(())
                };
                let totals = engine::ls_over(&records, "", None, true, &mut sink).await?;
                well(format!("{lines:?} {}", totals.entries))
            }
            Verb::Diff => {
                let mut lines = Vec::new();
                let mut sink = |line| {
                    lines.push(serde_json::to_string(&line).unwrap());
                    Ok(())
                };
                let totals = engine::diff_over(&destination().await?, "1", Some("3"), &mut sink).await?;
                let totals = serde_json::to_string(&totals).unwrap();
                well(format!("{lines:?} {totals}"))
            }
            Verb::History => well(serde_json::to_string(&engine::history_over(&records, "changing").await?).unwrap()),
            Verb::Cat | Verb::CatOld => {
                let at = (verb == Verb::CatOld).then_some("1");
                engine::cat_over(&records, "changing", at, &mut out).await?;
                well(String::from_utf8(out).unwrap())
            }
            Verb::RunControl | Verb::ReportByListing => {
                let list = verb == Verb::ReportByListing;
                let options = ReportOptions { list, by_directory: true, prices: Prices::shipped().unwrap() };
                let report = engine::report_over(&destination().await?, None, &options).await?;
                let rows = serde_json::to_string(&report.rows).unwrap();
                // A figure that could not be had is none, and a note says why.
                let gap =
                    report.notes.iter().any(|note| matches!(note, Note::Uncounted { .. } | Note::Unreadable(_) | Note::ForeignUncounted));
                Ok((format!("{:?} {rows}", report.counted), u8::from(report.error.is_some() || gap)))
            }
            Verb::Check | Verb::CheckReading => {
                let read_data = (verb == Verb::CheckReading).then_some(1.0);
                let options = CheckOptions { read_data, no_record: true, ..CheckOptions::default() };
                let outcome = engine::check_over(destination().await?, &self.world.machine, &options, &RunControl::new(1)).await?;
                Ok((format!("{:?}", outcome.findings), outcome.exit))
            }
            Verb::Pull | Verb::PullOld => self.pulled(verb, backend).await,
            Verb::Plan => {
                let opened = vec![(backend.location().to_string(), Ok(Arc::clone(backend)))];
                let options = &self.world.options;
                let plans = engine::plan_over(&self.world.machine, &self.world.source(), opened, options, &RunControl::new(1), None).await;
                Ok((format!("{:?} {:?}", plans[0].changes, plans[0].base), plans[0].exit))
            }
            Verb::InitCheck | Verb::Init => {
                let want = Initialize { versioning: Some(true), ..Initialize::default() };
                let outcome = engine::initialize_over(&[Arc::clone(backend)], &want, verb == Verb::InitCheck).await;
                // What it was is another thing the second time.
                let settings = outcome.destinations[0].settings.iter().map(|row| (row.setting, row.wanted.clone()));
                Ok((format!("{:?}", settings.collect::<Vec<_>>()), outcome.exit))
            }
            Verb::PruneDry | Verb::Prune => {
                let rules = KeepRules { last: 2, ..KeepRules::default() };
                let dry = verb == Verb::PruneDry;
                let outcome = engine::prune_over(destination().await?, &self.world.machine, &rules, dry, &RunControl::new(1)).await?;
                well(format!("{:?} {:?}", outcome.kept, outcome.removed))
            }
            Verb::Repair => {
                let options = RepairOptions::default();
                let source = self.world.source();
                let outcome = engine::repair_over(&self.world.machine, &source, Arc::clone(backend), &options, &RunControl::new(1)).await?;
                Ok((format!("{} {}", outcome.sent, outcome.lost.len()), outcome.exit))
            }
        }
    }

    /// A pull is judged by what lies there then: whole files of that state, all of them if it says it is well.
    async fn pulled(&self, verb: Verb, backend: &Arc<dyn Backend>) -> Said {
        let state = if verb == Verb::PullOld { 1 } else { 3 };
        let options = PullOptions { at: Some(state.to_string()), ..PullOptions::default() };
        let target = format!("pulled-{}", fs::read_dir(self.world.dir.path()).unwrap().count());
        let pulled = self.world.pull(backend, &target, &options).await;
        let (whole, got) = (self.world.path(&format!("state-{state}")), self.world.path(&target));
        for name in ["changing", "large", &format!("dir/only-in-{state}")] {
            if let Ok(bytes) = fs::read(got.join(name)) {
                assert_eq!(bytes, fs::read(whole.join(name)).unwrap(), "{verb:?}: {name}");
            }
        }
        let exit = u8::from(pulled?.exit != 0);
        if exit == 0 {
            same_trees(&whole, &got);
        }
        Ok((String::new(), exit))
    }

    /// All three states, or those that a prune leaves, come back to a machine that knows nothing.
    async fn holds(&self, states: std::ops::RangeInclusive<u32>, about: &str) {
        let elsewhere = World { machine: self.world.elsewhere("elsewhere"), ..World::new() };
        for state in states {
            let options = PullOptions { at: Some(state.to_string()), ..PullOptions::default() };
            let pulled = elsewhere.pull(&self.plain, &format!("held-{state}"), &options).await;
            assert_eq!(pulled.unwrap().problems, Sample::default(), "{about}");
            same_trees(&self.world.path(&format!("state-{state}")), &elsewhere.path(&format!("held-{state}")));
        }
    }

    async fn under(&self, verb: Verb, what: &str, fault: impl Fn(&Script), sound: &str) -> bool {
        let (faulty, backend) = faulty(&self.plain);
        fault(faulty.script());
        let said = self.said(verb, &backend).await;
        if let Ok((said, 0)) = &said {
            assert_eq!(said, sound, "{verb:?} on a {} with {what} says it is well: {:?}", self.place, faulty.script().calls());
        }
        said.is_ok_and(|(_, exit)| exit == 0)
    }
}

fn copy(from: &Path, to: &Path) {
    assert!(std::process::Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

async fn every_fault(place: &'static str, verb: Verb) {
    // A prune leaves nothing to prune, a repair nothing to mend: each fault has a scene of its own there.
    let changes = matches!(verb, Verb::Prune | Verb::Repair);
    let mut scene = Scene::new(place).await;
    break_one(&scene, verb).await;
    let (script, backend) = faulty(&scene.plain);
    let (sound, exit) = scene.said(verb, &backend).await.unwrap_or_else(|e| panic!("{verb:?}: {e}"));
    assert!(exit == 0 || matches!(verb, Verb::InitCheck | Verb::Init), "{verb:?} on a {place}: {exit} {sound}");
    let calls = script.script().count();
    assert!(calls > 0, "{verb:?} asks the store nothing");
    let mut failed = 0;
    for n in 1..=calls + 6 {
        let faults: [(&str, Fault); 4] = [
            ("a call that fails", &|script| _ = script.fail_at(n, ErrorKind::Transient)),
            ("a call that is refused", &|script| _ = script.fail_at(n, ErrorKind::Denied)),
            ("a listing that ends early", &|script| _ = script.end_listing_early(n)),
            ("a body that is cut", &|script| _ = script.cut_body(n, 3)),
        ];
        for (index, (what, fault)) in faults.into_iter().enumerate() {
            // Scenes take their time: there each call has one of the faults.
            if changes && n as usize % 4 != index {
                continue;
            }
            if changes {
                scene = Scene::new(place).await;
                break_one(&scene, verb).await;
            }
            failed += u32::from(!scene.under(verb, &format!("{what}, number {n}"), fault, &sound).await);
            if changes && verb == Verb::Prune {
                scene.holds(2..=3, what).await;
            }
        }
    }
    assert!(failed > 0, "{verb:?} never noticed a fault");
    if verb != Verb::Prune && verb != Verb::Repair {
        scene.holds(1..=3, &format!("{verb:?}")).await;
    }
}

/// For a repair there has to be something to mend.
async fn break_one(scene: &Scene, verb: Verb) {
    use object_store::ObjectStoreExt;
    if verb == Verb::Repair {
        scene.plain.store().delete(&object_store::path::Path::from("dir/only-in-3")).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_verb_says_it_is_well_when_it_is_not_on_an_object_store() {
    for verb in ALL {
        every_fault("bucket", verb).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_verb_says_it_is_well_when_it_is_not_in_a_directory() {
    for verb in ALL {
        every_fault("directory", verb).await;
    }
}

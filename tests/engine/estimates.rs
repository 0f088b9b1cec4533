//! A plan's figures against the requests of the run that carries it out: what is shown is what is paid.

use std::sync::Arc;

use offsite::engine::{self, PlanReport, RunControl};
use offsite::model::{KeepRules, Layout};
use offsite::plan::Estimate;
use offsite_backends::testing::MemoryOptions;
use offsite_backends::{Backend, Requests};

use crate::harness::*;
use crate::packed::noise;
use crate::packed::objects::Objects;

/// On a machine that has no keys yet. With one, it looks first whether the destination is sealed.
fn new() -> World {
    let mut world = World::new();
    world.machine.keys.dir = world.machine.keys.dir.map(|_| world.dir.path().join("keys"));
    world
}

fn packed() -> World {
    let mut world = new();
    world.options.layout = Some(Layout::Packed);
    world
}

async fn planned(world: &World, backend: &Arc<dyn Backend>) -> PlanReport {
    std::thread::sleep(std::time::Duration::from_millis(30));
    let opened = vec![(backend.location().to_string(), Ok(Arc::clone(backend)))];
    let plans = engine::plan_over(&world.machine, &world.source(), opened, &world.options, &RunControl::new(1), None).await;
    assert_eq!((plans[0].exit, &plans[0].error), (0, &None));
    plans.into_iter().next().unwrap()
}

/// What the requests of a run cost, by the same price.
fn paid(world: &World, seen: Requests) -> f64 {
    let Requests { put, get, head, list, copy, delete, multipart } = seen;
    world.options.price.requests(&Estimate { put, get: get + head, list, copy, delete, multipart })
}

/// Plans, runs, and compares: to 5 % of the cost, and `most` requests of looking (a sync of a mirror looks at an empty place's
/// top names, which the run of a saved plan does not).
async fn as_planned(world: &World, backend: &Arc<dyn Backend>, what: &str, most: u64) -> PlanReport {
    let plan = planned(world, backend).await;
    let before = backend.meter().requests();
    let outcome = world.synced(backend).await;
    let after = backend.meter().requests();
    let minus = |a: u64, b: u64| a - b;
    let spent = Requests {
        put: minus(after.put, before.put),
        get: minus(after.get, before.get),
        head: minus(after.head, before.head),
        list: minus(after.list, before.list) - most,
        copy: minus(after.copy, before.copy),
        delete: minus(after.delete, before.delete),
        multipart: minus(after.multipart, before.multipart),
    };
    let (cost, paid) = (plan.cost, paid(world, spent));
    assert!((cost - paid).abs() <= paid * 0.05, "{what}: planned {cost}, paid {paid}: {:?}, {spent:?}", plan.requests);
    let (planned, counted) = (plan.requests, [spent.put, spent.get + spent.head, spent.list, spent.copy, spent.multipart]);
    assert_eq!([planned.put, planned.get, planned.list, planned.copy, planned.multipart], counted, "{what}");
    // Small contents shrink by much, or grow by their frames.
    if plan.bytes > 1 << 20 {
        let (planned, sent) = (plan.bytes as f64, outcome.bytes.sent as f64);
        assert!((planned - sent).abs() <= sent * 0.05, "{what}: planned {planned} bytes, sent {sent}");
    }
    plan
}

fn many(world: &World, files: usize) {
    for i in 0..files {
        world.write(&format!("{:02}/{i:04}", i % 20), format!("content of {i}").as_bytes());
    }
}

async fn a_life(world: &World, backend: &Arc<dyn Backend>) {
    many(world, 300);
    as_planned(world, backend, "a first sync", either(1, 0)).await;
    as_planned(world, backend, "no change", 0).await;
    for i in 0..3 {
        world.write(&format!("00/{:04}", i * 20), b"something else altogether");
    }
    as_planned(world, backend, "1 % changed", 0).await;
    std::fs::rename(world.source().join("01"), world.source().join("zz")).unwrap();
    let plan = as_planned(world, backend, "a renamed directory", 0).await;
    assert_eq!(plan.changes.renamed, 15);
    if backend.tree().is_none() {
        // A directory looks at the lease once more before it tidies up, because only the run finds out that nothing
        // is to be sent; a plan has read the file.
        let touched = std::fs::File::options().write(true).open(world.source().join("05/0005")).unwrap();
        touched.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        as_planned(world, backend, "a touched file", 0).await;
    }
    for i in 0..10 {
        world.remove(&format!("02/{:04}", i * 20 + 2));
    }
    as_planned(world, backend, "removed files", 0).await;
    std::fs::remove_dir_all(world.source().join("03")).unwrap();
    world.write("03", b"a file where a directory was");
    as_planned(world, backend, "another kind", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_without_versions() {
    let world = new();
    a_life(&world, &memory("plain").1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_with_versions() {
    let world = new();
    let options = MemoryOptions { versions: true, ..MemoryOptions::default() };
    a_life(&world, &memory_with("versions", options).1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_is_kept() {
    let mut world = new();
    world.options.keep = KeepRules { within: Some(0), ..KeepRules::default() };
    a_life(&world, &memory("nothing-kept").1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory() {
    let world = new();
    a_life(&world, &world.file("directory")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_in_parts() {
    let world = new();
    let (_, backend) = memory("parts");
    world.write("large", &vec![7; 40 << 20]);
    let plan = as_planned(&world, &backend, "a large file", 1).await;
    assert!(plan.requests.multipart > 3, "{:?}", plan.requests);
}

/// New contents that do not shrink: the plan says what is paid, in requests and in bytes.
#[tokio::test(flavor = "multi_thread")]
async fn contents_of_a_packed_destination() {
    for directory in [false, true] {
        let world = packed();
        let backend = if directory { world.file("packs") } else { memory("packs").1 };
        for (what, large, files) in [("small files", 0, 40), ("a large one without a list", 10, 0), ("a large one with a list", 50, 9)] {
            let _ = std::fs::remove_dir_all(world.source());
            let seed = backend.meter().requests().total() << 8;
            for i in 0..files {
                world.write(&format!("{what}/{i}"), &noise(seed + i, 500_000));
            }
            world.write(&format!("{what}/large"), &noise(seed + files, large << 20));
            let plan = as_planned(&world, &backend, what, 0).await;
            let packs = Objects::of(&backend).await.packs().len();
            println!("{what}: planned {:?}, {packs} packs in all", plan.requests);
        }
    }
}

/// What the destination has already is not known before it is read. So the plan says the most.
#[tokio::test(flavor = "multi_thread")]
async fn contents_that_are_there_already_cost_less_than_planned() {
    let world = packed();
    let (_, backend) = memory("known");
    world.write("large", &noise(1, 40 << 20));
    world.synced(&backend).await;
    world.write("large", &[noise(2, 1000), noise(1, 40 << 20)].concat());
    world.write("copy", &noise(1, 40 << 20));
    let plan = planned(&world, &backend).await;
    let before = backend.meter().requests().put;
    let outcome = world.synced(&backend).await;
    let (planned, paid) = (plan.requests.put, backend.meter().requests().put - before);
    assert!(planned >= 3 + 80 / 16 && paid <= 5, "planned {planned}, paid {paid}");
    assert!(plan.bytes > 80 << 20 && outcome.bytes.sent < 3 << 20, "planned {}, paid {}", plan.bytes, outcome.bytes.sent);
}

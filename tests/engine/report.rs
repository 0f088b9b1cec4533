//! What a report says, where it has it from, and what it costs to ask.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::TimeDelta;
use offsite::engine::{self, Counted, DestinationReport, Note, Priced, ReportOptions, ReportRow};
use offsite::plan::Prices;
use offsite_backends::testing::MemoryOptions;
use offsite_backends::{Backend, ErrorKind, Requests};

use crate::harness::*;

fn options(list: bool) -> ReportOptions {
    ReportOptions { list, by_directory: true, prices: Prices::shipped().unwrap() }
}

async fn reported(world: &World, backend: &Arc<dyn Backend>, list: bool) -> DestinationReport {
    let destination = opened(backend, &world.machine).await.unwrap();
    let price = Prices::shipped().unwrap().get("aws/s3-standard").unwrap().clone();
    let priced = Priced { name: "aws/s3-standard".into(), price };
    engine::report_over(&destination, Some(&priced), &options(list)).await.unwrap()
}

fn directories(row: &ReportRow) -> BTreeMap<String, (u64, u64)> {
    row.directories.iter().flatten().map(|d| (d.path.display(), (d.objects, d.bytes))).collect()
}

fn three_directories(world: &World) {
    for i in 0..40 {
        world.write(&format!("a/deep/er/{i:03}"), &[b'a'; 100]);
        world.write(&format!("b/{i:03}"), &[b'b'; 10]);
    }
    world.write("top", b"12345");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_manifest_says_it_with_a_few_requests() {
    let world = World::new();
    let (_, backend) = memory("manifest");
    three_directories(&world);
    world.synced(&backend).await;
    world.write("b/new", &[b'n'; 600]);
    world.synced(&backend).await;
    let before = backend.meter().requests();
    let report = reported(&world, &backend, false).await;
    let spent = backend.meter().requests().total() - before.total();
    // The listing, the newest snapshot and a look past it, the other snapshot, the pages. A sealed one is unlocked first.
    assert!(spent <= if sealed() { 12 } else { 6 }, "{:?}", report.requests);
    assert_eq!((report.counted, report.rows.len(), report.error), (Some(Counted::Manifest), 1, None));
    let row = &report.rows[0];
    assert_eq!((row.snapshot, row.content.objects, row.content.bytes), (Some(2), 82, 5005));
    assert_eq!(report.as_of, row.snapshot_time);
    // Directories count as entries: `a/deep/` and `a/deep/er/`.
    let sums = directories(row);
    assert_eq!(sums, BTreeMap::from([(String::new(), (1, 5)), ("a/".into(), (42, 4000)), ("b/".into(), (41, 1000))]));
    assert_eq!(row.trend.iter().map(|p| (p.snapshot, p.bytes)).collect::<Vec<_>>(), [(1, 4405), (2, 5005)]);
    // Two snapshots of one day say nothing about growth.
    assert_eq!((row.growth, row.cost.as_ref().unwrap().month_in_a_year), (None, None));
    assert_eq!((row.kept, row.old_versions), (None, None), "what was not counted is not 0");
}

#[tokio::test(flavor = "multi_thread")]
async fn growth_and_the_cost_in_a_year_follow_the_snapshots() {
    let world = World::new();
    let (bucket, backend) = memory("growth");
    world.write("a", &vec![1; 100_000]);
    for day in 0..4 {
        bucket.set_clock_offset(TimeDelta::days(day - 10));
        world.write(&format!("more-{day}"), &vec![2; 10_000]);
        world.synced(&backend).await;
    }
    let report = reported(&world, &backend, false).await;
    let row = &report.rows[0];
    let growth = row.growth.unwrap();
    assert!((growth.bytes_per_day - 10_000.0).abs() < 50.0 && (growth.days - 3.0).abs() < 0.1, "{growth:?}");
    let cost = row.cost.clone().unwrap();
    let gb = f64::from(1 << 30);
    assert!((cost.month - 140_000.0 / gb * 0.023).abs() < 1e-9, "{cost:?}");
    let then = cost.month_in_a_year.unwrap();
    assert!((then - (140_000.0 + 365.0 * growth.bytes_per_day) / gb * 0.023).abs() < 1e-9, "{cost:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_counts_all_that_takes_up_room_and_asks_nothing_else() {
    let world = World::new();
    let (bucket, backend) = memory_with("listing", MemoryOptions { versions: true, ..MemoryOptions::default() });
    three_directories(&world);
    world.synced(&backend).await;
    world.write("top", b"123456789");
    world.remove("b/000");
    world.synced(&backend).await;
    backend.multipart().unwrap().create_multipart(&"big".into()).await.unwrap();
    let before = backend.meter().requests();
    let report = reported(&world, &backend, true).await;
    let after = backend.meter().requests();
    assert_eq!((after.list - before.list, after.total() - before.total()), (1, 1));
    assert_eq!((report.counted, report.rows.len()), (Some(Counted::Listing), 1));
    let row = &report.rows[0];
    assert_eq!((row.nobodys, row.snapshot, row.content.objects, row.content.bytes), (false, Some(2), 80, 4399));
    assert!(row.old_versions.unwrap().objects >= 2 && row.delete_markers >= Some(1), "{row:?}");
    assert_eq!(row.unfinished_uploads.unwrap().objects, 1);
    let sums = directories(row);
    assert_eq!(sums, BTreeMap::from([(String::new(), (1, 9)), ("a/".into(), (40, 4000)), ("b/".into(), (39, 390))]));
    // Every byte that lies there is in one of the figures, and priced.
    let all: u64 = bucket.keys().iter().map(|key| bucket.content(key).unwrap().len() as u64).sum();
    let current = row.content.bytes + row.kept.unwrap().bytes + row.manifest.unwrap().bytes;
    assert_eq!(current, all);
    assert_eq!(row.cost.as_ref().unwrap().bytes, all + row.old_versions.unwrap().bytes);
}

/// At a packed destination, what is stored are packs.
#[tokio::test(flavor = "multi_thread")]
async fn packs_are_the_contents_of_a_listing() {
    let world = World::packed();
    let (bucket, backend) = memory("packs");
    three_directories(&world);
    world.write("copy", b"12345");
    world.synced(&backend).await;
    world.write("more", &[7; 3000]);
    world.synced(&backend).await;
    let packs: Vec<u64> = bucket
        .keys()
        .iter()
        .filter(|key| key.starts_with(".offsite/packs/"))
        .map(|key| bucket.content(key).unwrap().len() as u64)
        .collect();
    let listed = &reported(&world, &backend, true).await.rows[0];
    assert_eq!((packs.len(), packs.iter().sum()), (2, listed.content.bytes));
    assert_eq!((listed.snapshot, listed.content.objects), (Some(2), 2));
    assert_eq!(directories(listed), BTreeMap::from([(".offsite/packs/".into(), (2, listed.content.bytes))]));
    let all: u64 = bucket.keys().iter().map(|key| bucket.content(key).unwrap().len() as u64).sum();
    assert_eq!(listed.content.bytes + listed.manifest.unwrap().bytes, all);
    assert_eq!(listed.cost.as_ref().unwrap().bytes, all);
    // The manifest has the files, and says so.
    let report = reported(&world, &backend, false).await;
    assert_eq!((report.rows[0].content.objects, report.rows[0].content.bytes), (83, 4_410 + 3_000));
    assert!(report.notes.contains(&Note::FilesOnly) && !report.notes.contains(&Note::ContentsOnly), "{:?}", report.notes);
}

#[tokio::test(flavor = "multi_thread")]
async fn kept_copies_are_told_from_contents() {
    let world = World::new();
    let (bucket, backend) = memory("kept");
    world.write("a", b"first one");
    world.write("odd\\name", b"odd");
    world.synced(&backend).await;
    world.write("a", b"second");
    world.synced(&backend).await;
    bucket.plant("not-ours", "1234");
    let report = reported(&world, &backend, true).await;
    let row = &report.rows[0];
    assert_eq!((row.kept.unwrap().objects, row.kept.unwrap().bytes), (1, 9));
    // What somebody put in between cannot be told by a listing alone.
    assert_eq!((row.content.objects, row.content.bytes), (3, 13));
}

#[tokio::test(flavor = "multi_thread")]
async fn several_destinations_in_one_place_are_a_row_each_and_the_rest_is_nobodys() {
    let world = World::new();
    world.write("x/y", b"12345");
    for name in ["disk/one", "disk/teams/two"] {
        std::fs::create_dir_all(world.path(name)).unwrap();
        world.synced(&world.file(name)).await;
    }
    std::fs::create_dir_all(world.path("disk/old")).unwrap();
    std::fs::write(world.path("disk/old/dump.sql"), "123").unwrap();
    let report = reported(&world, &world.file("disk"), false).await;
    assert_eq!(report.counted, Some(Counted::Listing));
    assert!(report.notes.contains(&Note::ListedInstead), "{:?}", report.notes);
    assert!(report.space.is_some_and(|room| room.free > 0 && room.free <= room.total));
    let rows: Vec<_> = report
        .rows
        .iter()
        .map(|row| (row.url.rsplit('/').next().unwrap(), row.nobodys, row.snapshot, row.content.objects, row.content.bytes))
        .collect();
    assert_eq!(rows, [("one", false, Some(1), 1, 5), ("two", false, Some(1), 1, 5), ("disk", true, None, 1, 3)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_out_of_order_comes_to_the_same() {
    let world = World::new();
    let (bucket, backend) = memory("unordered");
    three_directories(&world);
    world.synced(&backend).await;
    let before = reported(&world, &backend, true).await;
    bucket.unordered_listing(true);
    let after = reported(&world, &backend, true).await;
    assert_eq!((before.rows[0].content, directories(&before.rows[0])), (after.rows[0].content, directories(&after.rows[0])));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_cannot_list_is_said_and_the_rest_is_counted() {
    let world = World::new();
    let (_, backend) = memory("refused");
    world.write("a", b"12345");
    world.synced(&backend).await;
    for kind in [ErrorKind::Unsupported, ErrorKind::Denied] {
        let (script, broken) = faulty(&backend);
        script.script().fail_verb("list", 1, kind);
        let report = reported(&world, &broken, true).await;
        assert!(
            report.notes.iter().any(|note| matches!(note, Note::Uncounted { what: "old versions and delete markers", .. })),
            "{:?}",
            report.notes
        );
        let row = &report.rows[0];
        assert_eq!((row.content.bytes, row.old_versions, row.unfinished_uploads), (5, None, None));
    }
    // Anything else is no smaller figure but an error.
    let (script, broken) = faulty(&backend);
    script.script().fail_verb("list", 1, ErrorKind::Transient);
    let destination = opened(&broken, &world.machine).await.unwrap();
    assert!(engine::report_over(&destination, None, &options(true)).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_snapshot_is_left_out_of_the_trend() {
    let world = World::new();
    let (bucket, backend) = memory("damaged");
    for i in 1..=3 {
        world.write("a", format!("{i}").repeat(i).as_bytes());
        world.synced(&backend).await;
    }
    bucket.plant(&named(".offsite/snapshots/000000000002.json"), "{");
    let report = reported(&world, &backend, false).await;
    assert_eq!(report.rows[0].trend.iter().map(|p| p.snapshot).collect::<Vec<_>>(), [1, 3]);
    assert!(report.notes.contains(&Note::Unreadable(vec![2])), "{:?}", report.notes);
    assert_eq!(report.requests.total(), backend.meter().requests().total(), "{:?}", Requests::default());
}

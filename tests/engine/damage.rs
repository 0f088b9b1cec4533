//! Damage at the destination: said with the object's name, and no more is lost than must be.

use offsite::engine::PullOptions;
use offsite_backends::testing::MemoryBackend;

use crate::harness::*;

fn find(bucket: &MemoryBackend, start: &str) -> String {
    bucket.keys().into_iter().rfind(|k| k.starts_with(start)).unwrap()
}

fn damage(bucket: &MemoryBackend, key: &str, how: &str) {
    let content = bucket.content(key).unwrap();
    match how {
        "gone" => assert!(bucket.lose(key)),
        "cut" => drop(bucket.plant(key, content.slice(..content.len() / 2))),
        _ => {
            let mut bytes = content.to_vec();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x20;
            bucket.plant(key, bytes);
        }
    }
}

async fn filled(world: &World, name: &str) -> (MemoryBackend, std::sync::Arc<dyn offsite_backends::Backend>) {
    let (bucket, backend) = memory(name);
    for i in 0..2000 {
        world.write(&format!("{:02}/{i:04}", i % 40), format!("content {i}").as_bytes());
    }
    world.synced(&backend).await;
    (bucket, backend)
}

/// {gone, cut, flipped} × {pages, snapshot, format, lease} × {pull, sync without a cache}: a clear error
/// that names the object, never a panic and never a silent success.
#[tokio::test(flavor = "multi_thread")]
async fn every_object_of_ours() {
    for how in ["gone", "cut", "flipped"] {
        for start in [".offsite/pages/", ".offsite/snapshots/", ".offsite/format.json"] {
            let world = World::new();
            let (bucket, backend) = filled(&world, "damaged").await;
            let key = find(&bucket, start);
            damage(&bucket, &key, how);
            let pulled = world.pull(&backend, "target", &PullOptions::default()).await;
            let said = match &pulled {
                Ok(outcome) if outcome.problems.is_empty() => String::new(),
                Ok(outcome) => outcome.problems.first()[0].problem.clone(),
                Err(error) => error.to_string(),
            };
            // A pull needs no format.json: each snapshot carries the rules for keys.
            if start != ".offsite/format.json" {
                assert!(said.contains(start) || said.contains("no snapshot"), "{how} {start}: {said:?}");
            }
            std::fs::remove_dir_all(world.path("cache")).unwrap();
            world.write("new", b"new");
            let synced = world.sync(&backend).await;
            if how == "gone" && start == ".offsite/snapshots/" {
                continue;
            }
            let error = synced.error.unwrap_or_else(|| panic!("{how} {start}"));
            assert!(error.contains(start), "{how} {start}: {error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_lease_is_said_and_how_to_mend_it() {
    let world = World::new();
    let (bucket, backend) = memory("lease");
    world.write("f", b"x");
    world.synced(&backend).await;
    bucket.plant(&named(".offsite/lease.json"), b"{".to_vec());
    world.write("f", b"y");
    let outcome = world.sync(&backend).await;
    assert!(outcome.error.as_ref().is_some_and(|e| e.contains("lease.json") && e.contains("delete that object")), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_page_loses_only_its_own_entries() {
    let world = World::new();
    let (bucket, backend) = filled(&world, "page").await;
    let key = find(&bucket, ".offsite/pages/");
    let mut bytes = bucket.content(&key).unwrap().to_vec();
    // The header of a sealed object is not in one of its pages.
    bytes[if sealed() { 300 } else { 100 }] ^= 1;
    bucket.plant(&key, bytes);
    let pulled = world.pull(&backend, "target", &PullOptions::default()).await.unwrap();
    assert_eq!((pulled.exit, pulled.problems.total()), (3, 1), "{pulled:?}");
    assert!(pulled.files > 500 && pulled.files < 2000, "{}", pulled.files);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_content_is_not_published_and_the_rest_comes() {
    let world = World::new();
    let (bucket, backend) = filled(&world, "content").await;
    damage(&bucket, "07/0007", "flipped");
    damage(&bucket, "08/0008", "gone");
    damage(&bucket, "09/0009", "cut");
    let pulled = world.pull(&backend, "target", &PullOptions::default()).await.unwrap();
    assert_eq!((pulled.exit, pulled.problems.total(), pulled.files), (3, 3, 1997));
    assert!(!world.path("target/07/0007").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn after_damage_adopting_makes_a_whole_manifest_again() {
    let mut world = World::new();
    let (bucket, backend) = filled(&world, "mended").await;
    let key = find(&bucket, ".offsite/pages/");
    damage(&bucket, &key, "cut");
    std::fs::remove_dir_all(world.path("cache")).unwrap();
    assert_eq!(world.sync(&backend).await.exit, 1);
    world.options.adopt = true;
    let outcome = world.synced(&backend).await;
    assert_eq!((outcome.snapshot, outcome.bytes.sent), (Some(2), 0), "{outcome:?}");
    world.comes_back(&backend).await;
}

/// A hostile snapshot: what its reference asks for is bounded before anything is fetched or allocated.
#[tokio::test(flavor = "multi_thread")]
async fn a_reference_to_something_huge_is_refused() {
    let world = World::new();
    let (bucket, backend) = filled(&world, "damage-huge").await;
    let key = find(&bucket, ".offsite/snapshots/");
    let good: serde_json::Value = serde_json::from_slice(&bucket.content(&key).unwrap()).unwrap();
    for (field, value) in [("offset", u64::MAX), ("length", u64::MAX), ("raw", u64::MAX), ("level", 255)] {
        let mut bad = good.clone();
        bad["root"][field] = value.into();
        bucket.plant(&key, serde_json::to_vec(&bad).unwrap());
        let elsewhere = World { machine: world.elsewhere(field), ..World::new() };
        let error = elsewhere.pull(&backend, "back", &PullOptions::default()).await.unwrap_err().to_string();
        assert!(error.contains(".offsite/pages/"), "{field}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_cut_short_is_an_error_not_a_shorter_list() {
    let world = World::new();
    let (_, inner) = memory("listing");
    world.write("f", b"x");
    for _ in 0..4 {
        world.synced(&inner).await;
    }
    std::fs::remove_dir_all(world.path("cache")).unwrap();
    let (script, backend) = faulty(&inner);
    script.script().end_listing_early(1);
    let outcome = world.sync(&backend).await;
    assert_eq!((outcome.exit, outcome.snapshot), (1, None), "{outcome:?}");
}

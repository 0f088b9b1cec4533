//! What each kind of run costs, in requests; a change here is a change for every user's bill.

use offsite::engine::PullOptions;
use offsite::model::KeepRules;
use offsite_backends::{Backend, Requests};

use crate::harness::*;

pub fn spent(backend: &dyn Backend, before: Requests) -> Requests {
    let after = backend.meter().requests();
    Requests {
        put: after.put - before.put,
        get: after.get - before.get,
        head: after.head - before.head,
        list: after.list - before.list,
        copy: after.copy - before.copy,
        delete: after.delete - before.delete,
        multipart: after.multipart - before.multipart,
    }
}

pub fn many(world: &World, files: usize) {
    for i in 0..files {
        world.write(&format!("{:02}/{i:04}", i % 20), format!("content of {i}").as_bytes());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_change_is_one_look_and_one_record() {
    let world = World::new();
    let (_, backend) = memory("nothing");
    many(&world, 300);
    world.synced(&backend).await;
    let before = backend.meter().requests();
    world.synced(&backend).await;
    assert_eq!(spent(&*backend, before), Requests { list: 1, put: 1, ..Requests::default() });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_run_is_one_put_a_file_and_a_few_to_set_up() {
    let world = World::new();
    let (_, backend) = memory("first");
    many(&world, 300);
    let outcome = world.synced(&backend).await;
    let Requests { put, head, copy, multipart, .. } = outcome.requests;
    // The one copy is of the probe, which is read back whole and in part.
    assert_eq!((head, copy, multipart), (0, 1, 0));
    assert!(outcome.requests.total() - 300 <= 27 && put - 300 <= 12, "{:?}", outcome.requests);
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_files_and_six_more() {
    let mut world = World::new();
    world.options.keep = KeepRules { within: Some(0), ..KeepRules::default() };
    let (_, backend) = memory("changed");
    many(&world, 300);
    world.synced(&backend).await;
    for i in 0..30 {
        world.write(&format!("{:02}/{i:04}", i % 20), b"something else");
    }
    let before = backend.meter().requests();
    world.synced(&backend).await;
    let spent = spent(&*backend, before);
    assert_eq!(spent, Requests { put: 33, list: 2, delete: spent.delete, ..Requests::default() });
    // The lease, the old snapshot and its pages go with one request where the store deletes several at once.
    assert!((1..=3).contains(&spent.delete), "{spent:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kept_versions_are_one_copy_each() {
    let world = World::new();
    let (_, backend) = memory("kept");
    many(&world, 100);
    world.synced(&backend).await;
    world.write("00/0000", b"something else");
    let before = backend.meter().requests();
    world.synced(&backend).await;
    assert_eq!(spent(&*backend, before), Requests { put: 4, list: 2, copy: 1, delete: 1, ..Requests::default() });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_directory_sends_no_content() {
    let world = World::new();
    let (_, backend) = memory("renamed");
    many(&world, 200);
    world.synced(&backend).await;
    std::fs::rename(world.source().join("00"), world.source().join("zz")).unwrap();
    let outcome = world.synced(&backend).await;
    assert_eq!((outcome.changes.renamed, outcome.bytes.sent), (10, 0));
    world.comes_back(&backend).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_is_what_differs_and_six_more() {
    let world = World::new();
    let (_, backend) = memory("pulled");
    many(&world, 300);
    world.synced(&backend).await;
    world.pull(&backend, "target", &PullOptions::default()).await.unwrap();
    for i in 0..5 {
        std::fs::write(world.path(&format!("target/{i:02}/{i:04}")), b"spoilt").unwrap();
    }
    let before = backend.meter().requests();
    let pulled = world.pull(&backend, "target", &PullOptions::default()).await.unwrap();
    assert_eq!(pulled.files, 5);
    let spent = spent(&*backend, before);
    assert!(spent.total() <= 5 + 6, "{spent:?}");
}

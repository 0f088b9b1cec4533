//! What runs and restores cost at a sealed destination, in requests, and the keys of pages that spare some of them.

use offsite::engine::{self, Destination, KeyRing, Machine, RunControl};
use offsite_backends::Requests;

use crate::harness::*;
use crate::requests::{many, spent};
use crate::sealed::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_first_run_of_300_files_is_16_requests_and_no_change_is_2() {
    let sealed = Sealed::new("first");
    many(&sealed.world, 300);
    let (script, counted) = faulty(&sealed.backend);
    let requests = sealed.world.synced(&counted).await.requests;
    assert!(requests.total() <= 16, "{requests:?}: {:#?}", script.calls());
    let before = counted.meter().requests();
    sealed.world.synced(&counted).await;
    assert_eq!(spent(&*counted, before), Requests { list: 1, put: 1, ..Requests::default() });
}

/// The calls of a `cat` over a directory of objects, as `offsite cat` makes it.
async fn calls_of_cat(sealed: &Sealed, machine: &Machine, path: &str, expected: &[u8]) -> Vec<String> {
    let (script, counted) = faulty(&sealed.backend);
    let mut destination = Destination::over(counted, machine).unwrap();
    destination.unlock_contents(&machine.keys).await.unwrap();
    let mut out = Vec::new();
    engine::cat_from(&mut destination, path, None, &mut out).await.unwrap();
    assert_eq!(out, expected);
    script.calls().into_iter().map(|call| format!("{} {}", call.verb, call.key)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cat_is_7_requests_and_4_with_the_cache() {
    let sealed = Sealed::new("cat");
    many(&sealed.world, 300);
    // Far into its pack, where header and frame are two requests.
    sealed.world.write("aa", &noise(1, 2_000_000));
    sealed.world.write("zz", b"at the end");
    sealed.world.synced(&sealed.backend).await;
    let fresh = calls_of_cat(&sealed, &sealed.owner("fresh"), "zz", b"at the end").await;
    assert!(fresh.len() <= 7, "{fresh:#?}");
    let keys = KeyRing { identities: vec![sealed.world.path("owner")], ..sealed.world.machine.keys.clone() };
    let known = Machine { keys, ..sealed.world.machine.clone() };
    let cached = calls_of_cat(&sealed, &known, "zz", b"at the end").await;
    assert!(cached.len() <= 4, "{cached:#?}");
}

/// 40 directories with files whose names fill pages.
fn long_names(world: &World, files: u8) {
    for directory in 0..40 {
        for file in 0..files {
            let name = blake3::hash(&[directory, file]).to_hex();
            world.write(&format!("{directory:02}/{name}-{name}"), &[directory, file]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_object_opens_without_its_header() {
    let sealed = Sealed::new("opens");
    // A manifest whose pages reach beyond what one request takes with the header.
    long_names(&sealed.world, 150);
    sealed.world.synced(&sealed.backend).await;
    let pages = sealed.key("/pages/");
    assert!(sealed.bucket.content(&pages).unwrap().len() > 300_000, "{}", sealed.bucket.content(&pages).unwrap().len());
    let name = format!("39/{0}-{0}", blake3::hash(&[39, 149]).to_hex());
    let reader = sealed.owner("fresh");
    let calls = calls_of_cat(&sealed, &reader, &name, &[39, 149]).await;
    let of_pages = calls.iter().filter(|call| call.contains("/pages/")).count();
    assert!(of_pages <= 2 && calls.len() <= 8, "{calls:#?}");
    // A run without changes, and one with, keep the keys of the objects that stay.
    sealed.world.synced(&sealed.backend).await;
    sealed.world.write("00/new", b"new");
    sealed.world.synced(&sealed.backend).await;
    let calls = calls_of_cat(&sealed, &sealed.owner("later"), &name, &[39, 149]).await;
    let headers = calls.iter().filter(|call| call.contains(&pages)).count();
    assert!(headers <= 1, "{calls:#?}");
    sealed.comes_back("with the keys in the snapshot").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_after_a_rotation_has_no_older_keys() {
    let world = world();
    long_names(&world, 60);
    let url = world.path("vault").display().to_string();
    let opens = async || {
        let outcome = engine::sync(&world.machine, &world.source(), std::slice::from_ref(&url), &world.options, &RunControl::new(1)).await;
        assert_eq!(outcome.exit, 0, "{outcome:?}");
        let destination = Destination::open(&url, &world.machine).await.unwrap();
        let (snapshot, ..) = engine::resolve_at(&destination.records, None).await.unwrap();
        let opens = snapshot.opens.unwrap();
        (snapshot.objects.len(), opens.keys.len(), opens.names)
    };
    let before = opens().await;
    assert_eq!((before.0, before.1), (1, 1));
    engine::rotate_keys(&world.machine, &url, &world.options.seal.clone().unwrap()).await.unwrap();
    world.write("zz", b"new");
    let after = opens().await;
    assert_eq!((after.0, after.1), (2, 1), "only the key of what was written since");
    assert_ne!(before.2, after.2);
}

//! Append-only mode at packed and sealed destinations: no run deletes anything, packs that were sent in vain stay until a
//! run may delete them, and then exactly these go.

use std::fs;
use std::sync::Arc;

use age::secrecy::ExposeSecret;
use offsite::engine::{self, CheckOptions, Destination, KeyRing, Machine, PullOptions, RunControl, SealWish};
use offsite::model::{KeepRules, Sample};
use offsite_backends::testing::MemoryOptions;
use offsite_backends::{Backend, ErrorKind};

use super::objects::Objects;
use super::strays::Noise;
use super::{exact, last, many_pieces, noise, prune};
use crate::append_only::{Place, all_come_back, append_only, deletes_nothing, place, remember, without_deletes};
use crate::check::{check, good};
use crate::dumps::dump;
use crate::harness::*;

/// State `step` of a source: contents come, change, move, go and come back.
fn state(world: &World, step: u64) {
    world.write("stays", &noise(1, 3_000));
    world.write("changes", &noise(10 + step, 5_000));
    world.write("large", &many_pieces(step / 2, 34));
    match step {
        0 => world.write("goes", &noise(2, 4_000)),
        1 => {
            world.remove("goes");
            fs::rename(world.source().join("stays"), world.source().join("moved")).unwrap();
            world.write("stays", b"another content");
        }
        2 => world.write("goes", &noise(2, 4_000)),
        _ => {}
    }
}

fn lists(place: &Place) -> Vec<String> {
    place.bucket.keys().into_iter().filter(|key| key.starts_with(".offsite/left/")).collect()
}

/// The same world on a machine that may delete and knows nothing.
fn elsewhere(world: World) -> World {
    World { machine: world.elsewhere("admin"), dir: world.dir, options: World::packed().options }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_life_over_a_store_that_refuses_every_delete() {
    for keep in [KeepRules { within: Some(30 * 86_400), ..KeepRules::default() }, KeepRules { within: Some(0), ..KeepRules::default() }] {
        for ignore_conditions in [false, true] {
            let about = format!("{keep:?}, {ignore_conditions}");
            let mut world = World::packed();
            let place = place("life", MemoryOptions { ignore_conditions, ..MemoryOptions::default() });
            append_only(&mut world, &place.limited);
            world.options.keep = keep.clone();
            for step in 0..4 {
                state(&world, step);
                let outcome = world.synced(&place.limited).await;
                remember(&world, outcome.snapshot.unwrap());
            }
            let outcome = world.synced(&place.limited).await;
            remember(&world, outcome.snapshot.unwrap());
            deletes_nothing(&place.script);
            assert_eq!(all_come_back(&world, &place.full, &about).await, [1, 2, 3, 4, 5]);
            exact(&Objects::of(&place.full).await, &about);
            assert_eq!(lists(&place), [""; 0], "nothing was sent in vain");
            let checked = check(&world, &place.limited).await;
            good(&checked);
            assert_eq!((checked.foreign, checked.strays, checked.notes.len()), (0, 0, 0), "{about}: {checked:?}");

            let admin = elsewhere(world);
            assert_eq!(prune(&admin, &place.full, &last(2)).await.unwrap().removed, [1, 2, 3], "{about}");
            exact(&Objects::of(&place.full).await, &about);
            all_come_back(&admin, &place.full, &about).await;
            let rest = |key: &String| !["packs", "pages", "snapshots"].iter().any(|own| key.starts_with(&format!(".offsite/{own}/")));
            let rest: Vec<String> = place.bucket.keys().into_iter().filter(rest).collect();
            assert_eq!(rest, [".offsite/check.json", ".offsite/format.json"], "{about}");
        }
    }
}

/// A run that was cut off after its packs, and the change of the source before the next one.
async fn in_vain(world: &mut World, place: &Place) {
    append_only(world, &place.limited);
    world.write("stays", &noise(1, 3_000));
    remember_synced(world, &place.limited).await;
    world.write("new", &noise(2, 3_000));
    world.write("listed", &many_pieces(1, 34));
    let (script, backend) = without_deletes(&place.full);
    // The snapshot is the first object that is created, since the lease is there.
    script.script().fail_verb("create", 1, ErrorKind::Denied);
    assert_ne!(world.sync(&backend).await.exit, 0);
    deletes_nothing(&script);
    world.remove("new");
    world.remove("listed");
    assert!(Objects::of(&place.full).await.packs().len() > 1, "nothing was sent");
}

async fn remember_synced(world: &World, backend: &Arc<dyn Backend>) {
    let outcome = world.synced(backend).await;
    remember(world, outcome.snapshot.unwrap());
}

/// Packs that no snapshot names are there and on a list. A check of any machine calls them neither foreign nor strays.
async fn are_listed(world: &World, place: &Place, about: &str) {
    let objects = Objects::of(&place.full).await;
    objects.nothing_is_missing(about);
    assert!(objects.packs().len() > objects.named().len(), "{about}: nothing is left");
    assert!(!lists(place).is_empty(), "{about}");
    let fresh = world.elsewhere("checks");
    let destination = Destination::over(Arc::clone(&place.full), &fresh).unwrap();
    let checked = engine::check_over(destination, &fresh, &CheckOptions::default(), &RunControl::new(1)).await.unwrap();
    good(&checked);
    // Pages of a run that was cut off are strays, as they are without the mode.
    assert!(checked.foreign_listed.iter().all(|foreign| foreign.key.0.starts_with(b".offsite/pages/")), "{about}: {checked:?}");
}

/// Afterwards a run that may delete, here or elsewhere, leaves exactly what snapshots name.
async fn is_cleaned(mut world: World, place: &Place, by_sync: bool, about: &str) {
    deletes_nothing(&place.script);
    if by_sync {
        world.options.append_only.clear();
        world.write("more", about.as_bytes());
        remember_synced(&world, &place.full).await;
    } else {
        world = elsewhere(world);
        assert_eq!(prune(&world, &place.full, &last(9)).await.unwrap().removed, [0; 0], "{about}");
    }
    exact(&Objects::of(&place.full).await, about);
    assert_eq!(lists(place), [""; 0], "{about}");
    all_come_back(&world, &place.full, about).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn packs_of_a_run_that_was_cut_off() {
    for by_sync in [false, true] {
        let (mut world, place) = (World::packed(), place("vain", MemoryOptions::default()));
        in_vain(&mut world, &place).await;
        remember_synced(&world, &place.limited).await;
        are_listed(&world, &place, "cut off").await;
        is_cleaned(world, &place, by_sync, "cut off").await;
    }
}

/// Another append-only machine took over meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn packs_of_a_run_that_another_machine_overtook() {
    for by_sync in [false, true] {
        let (mut world, place) = (World::packed(), place("overtaken", MemoryOptions::default()));
        in_vain(&mut world, &place).await;
        let own = std::mem::take(&mut world.machine);
        world.machine = world.elsewhere("other");
        world.write("another", &noise(4, 3_000));
        remember_synced(&world, &place.limited).await;
        world.machine = own;
        world.write("again", &noise(5, 3_000));
        remember_synced(&world, &place.limited).await;
        are_listed(&world, &place, "overtaken").await;
        is_cleaned(world, &place, by_sync, "overtaken").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn packs_of_a_dump_that_failed() {
    for (other, by_sync) in [(false, false), (true, false), (true, true)] {
        let about = format!("other changes: {other}, by a sync: {by_sync}");
        let (mut world, place) = (World::packed(), place("dump", MemoryOptions::default()));
        append_only(&mut world, &place.limited);
        world.write("stays", &noise(1, 3_000));
        remember_synced(&world, &place.limited).await;
        if other {
            world.write("other", &noise(2, 3_000));
        }
        world.options.dumps = vec![dump(Noise(40 << 20, Err("it died".into())))];
        let outcome = world.sync(&place.limited).await;
        assert_eq!((outcome.exit, &outcome.warnings), (1, &Vec::new()), "{outcome:?}");
        assert!(outcome.dumps[0].error.as_ref().is_some_and(|error| error.contains("it died")), "{outcome:?}");
        world.options.dumps.clear();
        if let Some(number) = outcome.snapshot {
            remember(&world, number);
        }
        are_listed(&world, &place, &about).await;
        is_cleaned(world, &place, by_sync, &about).await;
    }
}

/// A list is only a hint: no pack goes that any snapshot names, nor anything but packs.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_takes_away_no_pack_that_a_snapshot_names() {
    let (mut world, place) = (World::packed(), place("hostile", MemoryOptions::default()));
    append_only(&mut world, &place.limited);
    for step in 0..3 {
        state(&world, step);
        remember_synced(&world, &place.limited).await;
    }
    place.bucket.plant("someone's file", "foreign");
    let before = place.bucket.keys();
    place.bucket.plant(".offsite/left/evil-0.json", serde_json::json!({ "keys": before }).to_string());
    let admin = elsewhere(world);
    prune(&admin, &place.full, &last(9)).await.unwrap();
    let gone = |key: &String| key.starts_with(".offsite/probe/") || key == ".offsite/lease.json";
    let wanted: Vec<String> = before.into_iter().filter(|key| !gone(key)).collect();
    assert_eq!(place.bucket.keys(), wanted);
    all_come_back(&admin, &place.full, "hostile").await;
}

/// A snapshot that cannot be read may name any pack, so the packs stay, and no run fails for it.
#[tokio::test(flavor = "multi_thread")]
async fn while_a_snapshot_cannot_be_read_the_packs_stay() {
    let (mut world, place) = (World::packed(), place("unread", MemoryOptions::default()));
    in_vain(&mut world, &place).await;
    remember_synced(&world, &place.limited).await;
    let first = ".offsite/snapshots/000000000001.json";
    let whole = place.bucket.content(first).unwrap();
    place.bucket.plant(first, "{");
    world.options.append_only.clear();
    world.write("more", b"more");
    let packs = Objects::of(&place.full).await.packs();
    remember_synced(&world, &place.full).await;
    assert!(place.bucket.keys().iter().filter(|key| packs.contains(*key)).count() == packs.len(), "a pack is gone");
    place.bucket.plant(first, whole);
    is_cleaned(world, &place, false, "it can be read again").await;
}

/// A machine with the writer key of the destination, and with the owner's identity if it is given.
fn keyed(world: &World, name: &str, identity: bool) -> Machine {
    let identities = if identity { vec![world.path("identity")] } else { Vec::new() };
    Machine { keys: KeyRing { dir: Some(world.path("keys")), identities, ..KeyRing::default() }, ..world.elsewhere(name) }
}

async fn unlocked(machine: &Machine, backend: &Arc<dyn Backend>) -> Destination {
    let mut destination = Destination::over(Arc::clone(backend), machine).unwrap();
    destination.unlock(&machine.keys).await.unwrap();
    destination
}

#[tokio::test(flavor = "multi_thread")]
async fn a_life_of_two_writers_at_a_sealed_destination() {
    let identity = age::x25519::Identity::generate();
    let (mut world, place) = (World::packed(), place("sealed", MemoryOptions::default()));
    fs::write(world.path("identity"), identity.to_string().expose_secret()).unwrap();
    world.options.seal = Some(SealWish { to: vec![identity.to_public().to_string()], only_key: true, ..SealWish::default() });
    append_only(&mut world, &place.limited);
    let writers = [keyed(&world, "one", false), keyed(&world, "two", false)];
    for step in 0..4 {
        // Each takes over the lease that the other one released.
        world.machine = writers[step as usize % 2].clone();
        state(&world, step);
        let before = place.script.count();
        remember_synced(&world, &place.limited).await;
        let calls = &place.script.calls()[usize::try_from(before).unwrap()..];
        let leases = calls.iter().filter(|call| call.key.starts_with(".offsite/lease.json")).collect::<Vec<_>>();
        assert!(leases.iter().all(|call| call.key == ".offsite/lease.json.age"), "{leases:?}");
    }
    // One is cut off, and what it sent is not needed any more.
    world.write("new", &noise(50, 3_000));
    let (script, backend) = without_deletes(&place.full);
    script.script().fail_verb("create", 1, ErrorKind::Denied);
    assert_ne!(world.sync(&backend).await.exit, 0);
    world.remove("new");
    remember_synced(&world, &place.limited).await;
    deletes_nothing(&script);
    deletes_nothing(&place.script);
    assert!(lists(&place).len() == 1 && lists(&place)[0].ends_with(".json.age"), "{:?}", lists(&place));
    // Without the key, nobody adds to what is deleted.
    let packs: Vec<String> = place.bucket.keys().into_iter().filter(|key| key.starts_with(".offsite/packs/")).collect();
    place.bucket.plant(".offsite/left/evil-0.json", serde_json::json!({ "keys": packs }).to_string());
    place.bucket.plant(".offsite/left/evil-1.json.age", serde_json::json!({ "keys": packs }).to_string());

    let admin = keyed(&world, "admin", true);
    let control = RunControl::new(1);
    let checked = engine::check_over(unlocked(&admin, &place.full).await, &admin, &CheckOptions::default(), &control).await.unwrap();
    good(&checked);
    assert_eq!(checked.notes.len(), 0, "the lease is released: {checked:?}");
    let pruned = engine::prune_over(unlocked(&admin, &place.full).await, &admin, &last(9), false, &control).await.unwrap();
    assert_eq!((pruned.removed.len(), pruned.kept.len()), (0, 5));
    let left: Vec<String> = place.bucket.keys().into_iter().filter(|key| key.starts_with(".offsite/packs/")).collect();
    assert_eq!(left.len(), packs.len() - 1, "the pack that was sent in vain");
    assert!(!place.bucket.keys().iter().any(|key| key.starts_with(".offsite/lease") || key.starts_with(".offsite/probe/")));
    for number in 1..=5 {
        let (target, options) = (world.path("back"), PullOptions { at: Some(number.to_string()), ..PullOptions::default() });
        let pulled = engine::pull_over(unlocked(&admin, &place.full).await, &target, &options, &control).await.unwrap();
        assert_eq!(pulled.problems, Sample::default(), "{number}");
        same_trees(&world.path(&format!("was-{number}")), &target);
        fs::remove_dir_all(target).unwrap();
    }
}

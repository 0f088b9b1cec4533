//! Sealed destinations: passphrases, lost and exchanged key files, an older state shown to those who look, and credentials
//! that may not read packs and keys.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;
use offsite::engine::{
    self, Destination, Flaw, KeyRing, Machine, PassphraseSource, PullOptions, RepairOptions, RunControl, SealWish, SecretString, Watched,
};
use offsite::error::{Error, Result};
use offsite::model::KeepRules;
use offsite::plan::Prices;
use offsite::seal::Ask;
use offsite_backends::ErrorKind;

use crate::harness::*;
use crate::sealed::*;

/// Answers every question with one passphrase, and counts them.
struct Answer(&'static str, AtomicUsize);

impl Ask for Answer {
    fn passphrase(&self, _: &str) -> Option<SecretString> {
        self.1.fetch_add(1, Relaxed);
        Some(SecretString::from(self.0.to_owned()))
    }

    fn message(&self, _: &str) {}
}

fn passphrase(text: &str) -> Arc<dyn PassphraseSource> {
    Arc::new(SecretString::from(text.to_owned()))
}

fn machine(sealed: &Sealed, name: &str, keys: KeyRing) -> Machine {
    Machine { cache_dir: sealed.world.path(name), host: name.into(), keys }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passphrase_is_enough_and_opens_everything() {
    let mut sealed = Sealed::new("passphrase");
    sealed.world.write("file", b"content");
    sealed.world.options.seal = Some(SealWish { passphrase: Some(passphrase("correct horse")), ..SealWish::default() });
    sealed.world.synced(&sealed.backend).await;
    let url = sealed.backend.location().to_string();
    assert_eq!(sealed.key("keys/"), ".offsite/keys/1.passphrase.age");

    // The command of the config, without anybody to ask.
    let by_command = KeyRing { passphrases: vec![(url.clone(), passphrase("correct horse"))], ..KeyRing::default() };
    let pulled = sealed.pull(&machine(&sealed, "command", by_command), "by-command").await.unwrap();
    assert_eq!(pulled.exit, 0);
    same_trees(&sealed.world.source(), &sealed.world.path("by-command"));
    // The user, asked once.
    let answer = Arc::new(Answer("correct horse", AtomicUsize::new(0)));
    let asking = KeyRing { ask: Some(Arc::clone(&answer) as _), ..KeyRing::default() };
    let asked = machine(&sealed, "asked", asking.clone());
    assert_eq!(sealed.pull(&asked, "asked-target").await.unwrap().exit, 0);
    assert_eq!(answer.1.load(Relaxed), 1, "asked once");
    assert_eq!(sealed.check(&asked, 1.0).await.exit, 0);
    // The host that writes needs no passphrase to look, and asks for it to read.
    let host = KeyRing { ask: Some(Arc::clone(&answer) as _), ..sealed.world.machine.keys.clone() };
    answer.1.store(0, Relaxed);
    let host = Machine { keys: host, ..sealed.world.machine.clone() };
    let mut destination = Destination::over(Arc::clone(&sealed.backend), &host).unwrap();
    destination.unlock(&host.keys).await.unwrap();
    engine::snapshots_over(&destination.records).await.unwrap();
    assert_eq!(answer.1.load(Relaxed), 0, "nothing is asked for names");
    assert_eq!(sealed.pull(&host, "on-the-host").await.unwrap().exit, 0);
    assert_eq!(answer.1.load(Relaxed), 1);

    for (about, wrong) in [("wrong", "battery staple"), ("empty", "")] {
        let keys = KeyRing { passphrases: vec![(url.clone(), passphrase(wrong))], ..KeyRing::default() };
        let error = sealed.pull(&machine(&sealed, about, keys), about).await.unwrap_err().to_string();
        assert!(error.contains(about), "{error}");
    }
    // Nobody can be asked.
    let keys = KeyRing { dir: sealed.world.machine.keys.dir.clone(), ..KeyRing::default() };
    let none = Machine { cache_dir: sealed.world.path("none"), host: "none".into(), keys };
    let error = Destination::over(Arc::clone(&sealed.backend), &none).unwrap().unlock_contents(&none.keys).await.unwrap_err().to_string();
    for way in ["--identity", "OFFSITE_IDENTITY_FILE", "seal.identity", "seal.passphrase_command"] {
        assert!(error.contains(way), "{way}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passphrase_counts_beside_one_recipient_and_an_identity_comes_first() {
    let mut sealed = Sealed::new("second-way");
    sealed.world.write("file", b"content");
    let to = sealed.world.options.seal.clone().unwrap().to;
    sealed.world.options.seal = Some(SealWish { to, passphrase: Some(passphrase("of the safe")), only_key: false });
    sealed.world.synced(&sealed.backend).await;
    let mut keys: Vec<_> = sealed.bucket.keys().into_iter().filter(|key| key.contains("/keys/")).collect();
    keys.sort();
    assert_eq!(keys, [".offsite/keys/1.age", ".offsite/keys/1.passphrase.age"]);
    let answer = Arc::new(Answer("of the safe", AtomicUsize::new(0)));
    let ring = |usual: bool| KeyRing {
        usual_identities: usual.then(|| (sealed.backend.location().to_string(), sealed.world.path("owner"))).into_iter().collect(),
        ask: Some(Arc::clone(&answer) as _),
        ..KeyRing::default()
    };
    assert_eq!(sealed.pull(&machine(&sealed, "usual", ring(true)), "by-the-config").await.unwrap().exit, 0);
    assert_eq!(answer.1.load(Relaxed), 0, "the identity of the config opens it");
    assert_eq!(sealed.pull(&machine(&sealed, "asked", ring(false)), "by-passphrase").await.unwrap().exit, 0);
    assert_eq!(answer.1.load(Relaxed), 1);
    // An empty new passphrase is refused before anything is written.
    let (bucket, other) = memory("empty-passphrase");
    sealed.world.options.seal = Some(SealWish { passphrase: Some(passphrase("")), ..SealWish::default() });
    let outcome = sealed.world.sync(&other).await;
    assert_eq!(outcome.exit, 2, "{outcome:?}");
    assert!(bucket.keys().iter().all(|key| !key.contains("format.json") && !key.contains("/keys/")), "{:?}", bucket.keys());
}

async fn repaired(sealed: &Sealed) -> engine::RepairOutcome {
    let options = RepairOptions::default();
    let (machine, source) = (&sealed.world.machine, sealed.world.source());
    engine::repair_over(machine, &source, Arc::clone(&sealed.backend), &options, &RunControl::new(1)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_or_exchanged_key_file_is_found_and_put_back() {
    let mut sealed = Sealed::new("key-files");
    sealed.world.write("file", b"content");
    let to = sealed.world.options.seal.clone().unwrap().to;
    sealed.world.options.seal = Some(SealWish { to, passphrase: Some(passphrase("of the safe")), only_key: false });
    sealed.world.synced(&sealed.backend).await;
    assert_eq!(sealed.check(&sealed.world.machine, 0.0).await.exit, 0);
    let strange = {
        let (bucket, other) = memory("another");
        sealed.world.synced(&other).await;
        bucket.content(".offsite/keys/1.age").unwrap()
    };
    for key in [".offsite/keys/1.age", ".offsite/keys/1.passphrase.age"] {
        let body = sealed.bucket.content(key).unwrap();
        let cut = body.slice(..body.len() - 1);
        for (about, now) in [("deleted", None), ("exchanged", Some(strange.clone())), ("cut", Some(cut)), ("empty", Some(Bytes::new()))] {
            let flaw = if now.is_some() { Flaw::Damaged } else { Flaw::Missing };
            match now {
                Some(bytes) => drop(sealed.bucket.plant(key, bytes)),
                None => assert!(sealed.bucket.lose(key)),
            }
            let checked = sealed.check(&sealed.world.machine, 0.0).await;
            assert_eq!((checked.exit, checked.findings.len()), (1, 1), "{about}: {checked:?}");
            let found = &checked.findings[0];
            assert_eq!((found.flaw, found.path.to_string().as_str()), (flaw, key), "{about}");
            let repaired = repaired(&sealed).await;
            assert_eq!((repaired.exit, repaired.wrong, repaired.repaired), (0, 1, 1), "{about}: {repaired:?}");
            assert_eq!(sealed.bucket.content(key).unwrap(), body, "{about}");
            assert_eq!(sealed.check(&sealed.world.machine, 0.0).await.exit, 0, "{about}");
        }
    }
    sealed.comes_back("put back").await;
    // A second host gets its copies with its first check.
    let keys = sealed.world.path("keys");
    let copies: Vec<_> =
        fs::read_dir(&keys).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.extension().unwrap() == "age").collect();
    assert_eq!(copies.iter().filter(|path| path.to_string_lossy().contains(&id(&sealed))).count(), 2, "{copies:?}");
    for copy in &copies {
        fs::remove_file(copy).unwrap();
    }
    sealed.check(&sealed.world.machine, 0.0).await;
    sealed.bucket.lose(".offsite/keys/1.age");
    assert_eq!(repaired(&sealed).await.repaired, 1);
    // Without a copy, it says what to do.
    for copy in &copies {
        let _ = fs::remove_file(copy);
    }
    sealed.bucket.lose(".offsite/keys/1.age");
    let lost = repaired(&sealed).await;
    assert!(lost.exit == 1 && lost.lost.iter().any(|lost| lost.problem.contains("offsite key add")), "{lost:?}");
}

/// The id of the destination.
fn id(sealed: &Sealed) -> String {
    let format: serde_json::Value = serde_json::from_slice(&sealed.bucket.content(".offsite/format.json").unwrap()).unwrap();
    format["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_added_and_rotated_here_are_watched_too() {
    let world = world();
    world.write("file", b"content");
    let url = world.path("vault").display().to_string();
    let run = engine::sync(&world.machine, &world.source(), std::slice::from_ref(&url), &world.options, &RunControl::new(1)).await;
    assert_eq!(run.exit, 0, "{run:?}");
    let (safe, owner) = (identity(&world, "safe"), world.path("owner"));
    let both = Machine { keys: KeyRing { identities: vec![owner], ..world.machine.keys.clone() }, ..world.machine.clone() };
    engine::add_key(&both, &url, &wish(&[&safe])).await.unwrap();
    let rotation = SealWish { passphrase: Some(passphrase("new")), ..wish(&[&safe]) };
    let rotated = engine::rotate_keys(&world.machine, &url, &rotation).await.unwrap();
    assert_eq!(rotated.added, ["3.age", "3.passphrase.age"]);
    let check = async || engine::check(&world.machine, &url, &engine::CheckOptions::default(), &RunControl::new(1)).await.unwrap();
    assert_eq!(check().await.exit, 0);
    for name in ["1.age", "2.age", "3.age", "3.passphrase.age"] {
        let path = world.path("vault/.offsite/keys").join(name);
        let body = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(check().await.findings.len(), 1, "{name}");
        let repaired = engine::repair(&world.machine, &world.source(), &url, &RepairOptions::default(), &RunControl::new(1)).await.unwrap();
        assert_eq!((repaired.exit, repaired.repaired), (0, 1), "{name}: {repaired:?}");
        assert_eq!(fs::read(&path).unwrap(), body, "{name}");
    }
}

/// All objects of a bucket.
fn state(sealed: &Sealed) -> BTreeMap<String, Bytes> {
    sealed.bucket.keys().into_iter().map(|key| (key.clone(), sealed.bucket.content(&key).unwrap())).collect()
}

fn serve(sealed: &Sealed, state: &BTreeMap<String, Bytes>) {
    for key in sealed.bucket.keys().iter().filter(|key| !state.contains_key(*key)) {
        sealed.bucket.lose(key);
    }
    for (key, body) in state {
        sealed.bucket.plant(key, body.clone());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_looks_is_told_of_an_older_state() {
    let sealed = Sealed::new("looks");
    let mut states = Vec::new();
    for number in 0..3 {
        sealed.world.write("file", &noise(number, 300));
        sealed.world.synced(&sealed.backend).await;
        states.push(state(&sealed));
    }
    // Another history: a writer that saw only the second state goes on from there.
    let (remembers, then) = (sealed.world.path("cache"), sealed.world.path("cache-then"));
    fs::rename(&remembers, &then).unwrap();
    serve(&sealed, &states[1]);
    let mut forks = Vec::new();
    for number in 10..12 {
        sealed.world.write("file", &noise(number, 300));
        sealed.world.synced(&sealed.backend).await;
        forks.push(state(&sealed));
    }
    fs::remove_dir_all(&remembers).unwrap();
    fs::rename(&then, &remembers).unwrap();
    let machine = &sealed.world.machine;
    let open = async || sealed.open(machine).await.unwrap();
    let report = engine::ReportOptions { list: false, by_directory: true, prices: Prices::shipped().unwrap() };
    let refused = |what: &str, result: Result<()>| match result {
        Err(error) => assert_eq!(error.exit_code(), 4, "{what}: {error}"),
        Ok(()) => panic!("{what} shows an older state"),
    };
    let shown = [("the newest", &states[2]), ("an older state", &states[1]), ("the first state", &states[0])];
    for (about, state) in shown.into_iter().chain([("another third one", &forks[0]), ("what follows another one", &forks[1])]) {
        serve(&sealed, state);
        let forked = about.contains("another");
        let records = open().await.records;
        let mut results: Vec<(&str, Result<()>)> = vec![
            ("ls", engine::ls_over(&records, "", None, false, &mut |_| Ok(())).await.map(drop)),
            ("ls --unread", engine::unread_over(&records, None, &mut |_| Ok(())).await.map(drop)),
            ("history", engine::history_over(&records, "file").await.map(drop)),
            ("report", engine::report_over(&open().await, None, &report).await.map(drop)),
        ];
        if !forked {
            // The number alone shows an older state.
            results.push(("ls --at", engine::ls_over(&records, "", Some("1"), false, &mut |_| Ok(())).await.map(drop)));
        }
        if about != "the first state" {
            results.push(("diff", engine::diff_over(&open().await, "1", None, &mut |_| Ok(())).await.map(drop)));
        }
        if about == "an older state" {
            results.push(("diff of two", engine::diff_over(&open().await, "1", Some("2"), &mut |_| Ok(())).await.map(drop)));
        }
        let listing = engine::snapshots_over(&records).await.unwrap();
        if about == "the newest" {
            assert!(listing.problem.is_none() && listing.exit == 0);
            results.into_iter().for_each(|(what, result)| result.unwrap_or_else(|error| panic!("{what}: {error}")));
        } else {
            assert!(listing.problem.is_some() && listing.exit == 4, "{about}");
            results.into_iter().for_each(|(what, result)| refused(&format!("{what}, {about}"), result));
        }
    }
    // What follows is not refused.
    serve(&sealed, &states[2]);
    fs::rename(&remembers, &then).unwrap();
    sealed.world.synced(&sealed.backend).await;
    fs::remove_dir_all(&remembers).unwrap();
    fs::rename(&then, &remembers).unwrap();
    engine::ls_over(&open().await.records, "", None, false, &mut |_| Ok(())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn status_and_cat_and_pull_are_told_of_an_older_state() {
    let mut world = world();
    // With a run record at the destination, which is no proof.
    world.options.job = Some("job".into());
    let (vault, older) = (world.path("vault"), world.path("older"));
    let url = vault.display().to_string();
    let sync = async || {
        let outcome = engine::sync(&world.machine, &world.source(), std::slice::from_ref(&url), &world.options, &RunControl::new(1)).await;
        assert_eq!(outcome.exit, 0, "{outcome:?}");
    };
    world.write("file", b"one");
    sync().await;
    assert!(std::process::Command::new("cp").arg("-a").args([&vault, &older]).status().unwrap().success());
    world.write("file", b"two");
    sync().await;
    let keys = KeyRing { identities: vec![world.path("owner")], ..world.machine.keys.clone() };
    let reader = Machine { keys, ..world.machine.clone() };
    let watched = [Watched { url: url.clone(), ..Watched::default() }];
    let mut out = Vec::new();
    engine::cat(&reader, &url, "file", None, &mut out).await.unwrap();
    assert_eq!((out.as_slice(), engine::status(&world.machine, &watched, None).await.exit), (&b"two"[..], 0));
    fs::rename(&vault, world.path("newer")).unwrap();
    fs::rename(&older, &vault).unwrap();
    for at in [None, Some("1")] {
        let error = engine::cat(&reader, &url, "file", at, &mut Vec::new()).await.unwrap_err();
        assert_eq!(error.exit_code(), 4, "{error}");
        let options = PullOptions { at: at.map(str::to_owned), ..PullOptions::default() };
        let error = engine::pull(&reader, &url, &world.path("back"), &options, &RunControl::new(1)).await.unwrap_err();
        assert_eq!(error.exit_code(), 4, "{error}");
    }
    let status = engine::status(&world.machine, &watched, None).await;
    let bad = status.destinations[0].bad.clone().unwrap_or_default();
    assert!(status.exit == 1 && bad.contains("older state"), "{bad}");
    // A machine that remembers nothing knows only what its user knows.
    let keys = KeyRing { identities: vec![world.path("owner")], ..KeyRing::default() };
    let fresh = Machine { cache_dir: world.path("fresh"), host: "fresh".into(), keys };
    for (at_least, code) in [(None, 0), (Some(1), 0), (Some(2), 4)] {
        let options = PullOptions { at_least, ..PullOptions::default() };
        let pulled = engine::pull(&fresh, &url, &world.path("back"), &options, &RunControl::new(1)).await;
        assert_eq!(pulled.as_ref().map_or_else(Error::exit_code, |pulled| pulled.exit), code, "{at_least:?}: {pulled:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_rotation_all_key_files_are_read() {
    let world = world();
    world.write("file", b"before");
    let url = world.path("vault").display().to_string();
    let sync = async || {
        let outcome = engine::sync(&world.machine, &world.source(), std::slice::from_ref(&url), &world.options, &RunControl::new(1)).await;
        assert_eq!(outcome.exit, 0, "{outcome:?}");
    };
    sync().await;
    let owner = world.options.seal.clone().unwrap();
    engine::rotate_keys(&world.machine, &url, &owner).await.unwrap();
    world.write("new", b"after");
    sync().await;
    let reader = Machine {
        cache_dir: world.path("fresh"),
        host: "o".into(),
        keys: KeyRing { identities: vec![world.path("owner")], ..KeyRing::default() },
    };
    for (path, content) in [("file", &b"before"[..]), ("new", b"after")] {
        let mut out = Vec::new();
        engine::cat(&reader, &url, path, None, &mut out).await.unwrap();
        assert_eq!(out, content);
    }
    let pulled = engine::pull(&reader, &url, &world.path("back"), &PullOptions::default(), &RunControl::new(1)).await.unwrap();
    assert_eq!(pulled.exit, 0);
    same_trees(&world.source(), &world.path("back"));
    let mut out = Vec::new();
    engine::cat(&reader, &url, "file", Some("1"), &mut out).await.unwrap();
    assert_eq!(out, b"before");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_may_not_read_packs_and_keys_suffice_to_write() {
    let sealed = Sealed::new("write-only");
    fill(&sealed.world);
    // Large enough for lists of pieces, which are in packs too.
    sealed.world.write("larger", &noise(6, 30_000_000));
    let (script, restricted) = faulty(&sealed.backend);
    script.script().refuse_reads("/packs/", ErrorKind::Denied).refuse_reads("/keys/", ErrorKind::Denied);
    sealed.world.synced(&restricted).await;
    sealed.world.write("more", &noise(4, 20_000));
    sealed.world.synced(&restricted).await;
    sealed.world.synced(&restricted).await;
    fs::remove_dir_all(sealed.world.path("cache")).unwrap();
    sealed.world.write("more", &noise(5, 20_000));
    sealed.world.synced(&restricted).await;
    let machine = &sealed.world.machine;
    let open = async || {
        let mut destination = Destination::over(Arc::clone(&restricted), machine).unwrap();
        destination.unlock(&machine.keys).await.unwrap();
        destination
    };
    engine::ls_over(&open().await.records, "", None, true, &mut |_| Ok(())).await.unwrap();
    let check = async || {
        let options = engine::CheckOptions::default();
        engine::check_over(open().await, machine, &options, &RunControl::new(1)).await.unwrap()
    };
    let checked = check().await;
    assert_eq!(checked.exit, 0, "{checked:?}");
    assert!(checked.notes.iter().any(|note| note.to_string().contains("1 key file may not be read")), "{:?}", checked.notes);
    let rules = KeepRules { last: 1, ..KeepRules::default() };
    let pruned = engine::prune_over(open().await, machine, &rules, false, &RunControl::new(1)).await.unwrap();
    assert_eq!(pruned.removed.len(), 3);
    sealed.comes_back("pruned").await;
    // A key file that is missing or has another length is noticed by the listing alone.
    let key = sealed.key("/keys/");
    let body = sealed.bucket.content(&key).unwrap();
    sealed.bucket.plant(&key, body.slice(1..));
    assert_eq!((check().await.exit, check().await.damaged), (1, 1));
    sealed.bucket.lose(&key);
    assert_eq!((check().await.exit, check().await.missing), (1, 1));
    let options = RepairOptions::default();
    let repaired =
        engine::repair_over(machine, &sealed.world.source(), Arc::clone(&restricted), &options, &RunControl::new(1)).await.unwrap();
    assert_eq!((repaired.exit, repaired.repaired), (0, 1), "{repaired:?}");
    assert_eq!(sealed.bucket.content(&key).unwrap(), body);
}

#[test]
fn keys_of_the_config_are_found_by_a_url_with_settings() {
    let keys = KeyRing {
        usual_identities: vec![("s3://acme/site?endpoint=http://127.0.0.1:1&region=x".into(), "mine.txt".into())],
        writers: vec![("s3://acme/site?endpoint=http://127.0.0.1:1".into(), "cloud.key".into())],
        ..KeyRing::default()
    };
    assert_eq!(keys.identities_of("s3://acme/site"), [PathBuf::from("mine.txt")]);
    assert_eq!(keys.path("s3://acme/site", "id").unwrap(), PathBuf::from("cloud.key"));
    assert!(keys.identities_of("s3://acme/other").is_empty() && keys.path("s3://acme/site/2", "id").is_err());
}

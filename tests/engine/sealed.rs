//! Sealed destinations: what lies there tells nothing, the owner's key opens it, the writing host's key does not, and a
//! store that cheats is noticed.

use std::fs;
use std::sync::Arc;

use offsite::engine::{self, CheckOptions, Destination, KeyRing, LsLine, Machine, PullOptions, RunControl, SealWish, SyncOptions};
use offsite::error::Result;
use offsite::model::KeepRules;
use offsite::seal::{Identity, KeySet, seal_keys};
use offsite_backends::Backend;
use offsite_backends::testing::MemoryBackend;

use crate::harness::*;

const SECRET: &[u8] = b"a text that nobody but the owner may read";

/// A world with an owner, whose identity lies in a file, and a host that has no identity.
pub struct Sealed {
    pub world: World,
    pub bucket: MemoryBackend,
    pub backend: Arc<dyn Backend>,
}

pub fn identity(world: &World, name: &str) -> String {
    let identity = Identity::random().unwrap();
    fs::write(world.path(name), format!("{}\n", *identity.reveal())).unwrap();
    identity.recipient().to_string()
}

pub fn wish(to: &[&str]) -> SealWish {
    SealWish { to: to.iter().map(|to| (*to).to_owned()).collect(), only_key: to.len() == 1, ..SealWish::default() }
}

pub fn world() -> World {
    let mut world = World::new();
    world.machine.keys.dir = Some(world.path("keys"));
    let owner = identity(&world, "owner");
    world.options.seal = Some(wish(&[&owner]));
    world
}

impl Sealed {
    pub fn new(name: &str) -> Self {
        let world = world();
        let (bucket, backend) = memory(name);
        Self { world, bucket, backend }
    }

    /// The owner's machine, which knows nothing of the destination.
    pub fn owner(&self, name: &str) -> Machine {
        let keys = KeyRing { identities: vec![self.world.path("owner")], ..KeyRing::default() };
        Machine { cache_dir: self.world.path(name), host: name.into(), keys }
    }

    pub async fn open(&self, machine: &Machine) -> Result<Destination> {
        let mut destination = Destination::over(Arc::clone(&self.backend), machine)?;
        match machine.keys.may_open(&self.backend.location().to_string()) {
            true => destination.unlock_contents(&machine.keys).await?,
            false => destination.unlock(&machine.keys).await?,
        }
        Ok(destination)
    }

    pub async fn pull(&self, machine: &Machine, target: &str) -> Result<engine::PullOutcome> {
        engine::pull_over(self.open(machine).await?, &self.world.path(target), &PullOptions::default(), &RunControl::new(1)).await
    }

    pub async fn comes_back(&self, about: &str) {
        let target = format!("back-{:x}", fs::read_dir(self.world.dir.path()).unwrap().count());
        let pulled = self.pull(&self.owner(&format!("{target}-cache")), &target).await.unwrap();
        assert_eq!((pulled.exit, pulled.problems.total()), (0, 0), "{about}: {pulled:?}");
        same_trees(&self.world.source(), &self.world.path(&target));
    }

    pub async fn check(&self, machine: &Machine, share: f64) -> engine::CheckOutcome {
        let options = CheckOptions { read_data: Some(share), ..CheckOptions::default() };
        engine::check_over(self.open(machine).await.unwrap(), machine, &options, &RunControl::new(1)).await.unwrap()
    }

    pub fn key(&self, part: &str) -> String {
        self.bucket.keys().into_iter().filter(|key| key.contains(part)).max().unwrap()
    }
}

pub fn fill(world: &World) {
    for i in 0..40 {
        world.write(&format!("dir-{i:02}/a-telling-name-{i}"), &[SECRET, &[i as u8; 100]].concat());
    }
    world.write("large", &noise(7, 3_000_000));
    world.write("empty", b"");
}

pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_life_on_a_host_that_can_read_no_content() {
    let sealed = Sealed::new("life");
    fill(&sealed.world);
    let first = sealed.world.synced(&sealed.backend).await;
    assert_eq!(first.changes.added, 82);
    sealed.comes_back("first").await;

    // Nothing to do: one look and one record.
    let (script, counted) = faulty(&sealed.backend);
    sealed.world.synced(&counted).await;
    let verbs: Vec<_> = script.calls().into_iter().map(|call| call.verb).collect();
    assert_eq!(verbs, ["list", "create"], "{verbs:?}");

    sealed.world.write("dir-01/new", b"new");
    sealed.world.remove("dir-02/a-telling-name-2");
    fs::rename(sealed.world.source().join("large"), sealed.world.source().join("moved")).unwrap();
    let third = sealed.world.synced(&sealed.backend).await;
    assert!(third.bytes.sent < 10_000, "{third:?}");
    sealed.comes_back("changed").await;

    // The host lists, checks and prunes, and cannot read.
    let host = &sealed.world.machine;
    let mut names = Vec::new();
    let destination = sealed.open(host).await.unwrap();
    let mut take = |line: LsLine| {
        names.push(line.path.to_string());
        Ok(())
    };
    engine::ls_over(&destination.records, "dir-01", None, true, &mut take).await.unwrap();
    assert!(names.iter().any(|name| name.contains("a-telling-name-1")), "{names:?}");
    let error = engine::cat_over(&destination.records, "dir-01/new", None, &mut Vec::new()).await.unwrap_err().to_string();
    assert!(error.contains("--identity"), "{error}");
    let checked = sealed.check(host, 1.0).await;
    assert_eq!((checked.exit, checked.foreign), (0, 0), "{checked:?}");
    let rules = KeepRules { last: 1, ..KeepRules::default() };
    let pruned = engine::prune_over(sealed.open(host).await.unwrap(), host, &rules, false, &RunControl::new(1)).await.unwrap();
    assert_eq!((pruned.removed.len(), pruned.kept.len()), (2, 1));
    sealed.comes_back("pruned").await;
    assert_eq!(sealed.check(&sealed.owner("checks"), 1.0).await.exit, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_there_tells_nothing() {
    let sealed = Sealed::new("clear");
    fill(&sealed.world);
    sealed.world.synced(&sealed.backend).await;
    let (host, source) = (sealed.world.machine.host.clone(), sealed.world.source().display().to_string());
    for key in sealed.bucket.keys() {
        let body = sealed.bucket.content(&key).unwrap();
        for secret in [SECRET, b"telling", host.as_bytes(), source.as_bytes()] {
            assert!(!body.windows(secret.len()).any(|part| part == secret), "{key}");
        }
        assert!(key.ends_with(".age") || key == ".offsite/format.json", "{key}");
    }
    // Equal lengths: packs that are full, and no length of a file.
    let keys: Vec<String> = sealed.bucket.keys().into_iter().filter(|key| key.contains("/packs/")).collect();
    assert!(!keys.is_empty());
    for key in keys {
        let name = blake3::hash(&sealed.bucket.content(&key).unwrap()).to_hex();
        assert!(key.contains(name.as_str()), "anybody can check a pack by its name: {key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_cache_costs_nothing_and_a_lost_writer_key_is_made_again() {
    let sealed = Sealed::new("lost");
    fill(&sealed.world);
    sealed.world.synced(&sealed.backend).await;
    fs::remove_dir_all(sealed.world.path("cache")).unwrap();
    sealed.world.write("more", &noise(1, 1000));
    let again = sealed.world.synced(&sealed.backend).await;
    assert!(again.bytes.sent < 5_000, "{again:?}");

    fs::remove_dir_all(sealed.world.path("keys")).unwrap();
    fs::remove_dir_all(sealed.world.path("cache")).unwrap();
    let refused = sealed.world.sync(&sealed.backend).await;
    assert!(refused.error.as_ref().is_some_and(|error| error.contains("sealed")), "{refused:?}");
    sealed.comes_back("no host has a key").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_recipient_alone_is_refused_before_anything_is_written() {
    let mut sealed = Sealed::new("alone");
    fill(&sealed.world);
    let to = sealed.world.options.seal.clone().unwrap().to;
    for wish in [SealWish { to, ..SealWish::default() }, SealWish::default(), wish(&["age1nonsense", "ssh-rsa x"])] {
        sealed.world.options.seal = Some(wish);
        let outcome = sealed.world.sync(&sealed.backend).await;
        assert_eq!(outcome.exit, 2, "{outcome:?}");
        assert!(sealed.bucket.keys().is_empty() && !sealed.world.path("keys").exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_changed_there_no_wrong_byte_comes_back() {
    let sealed = Sealed::new("tamper");
    fill(&sealed.world);
    sealed.world.synced(&sealed.backend).await;
    let mut cases = 0;
    for key in sealed.bucket.keys() {
        let whole = sealed.bucket.content(&key).unwrap();
        let places = [0, 30, 100, 160, 170, 190, whole.len() / 2, whole.len() - 1];
        let flipped = places.into_iter().filter(|at| *at < whole.len()).map(|at| {
            let mut bytes = whole.to_vec();
            bytes[at] ^= 1;
            bytes
        });
        let cut = [whole[..whole.len() - 1].to_vec(), whole[..whole.len() / 2].to_vec(), [&whole[..], b"x"].concat(), Vec::new()];
        for bytes in flipped.chain(cut) {
            cases += 1;
            sealed.bucket.plant(&key, bytes);
            let target = format!("tampered-{cases}");
            match sealed.pull(&sealed.owner(&format!("{target}-cache")), &target).await {
                Err(_) => {}
                Ok(pulled) if pulled.exit == 0 => same_trees(&sealed.world.source(), &sealed.world.path(&target)),
                Ok(pulled) => {
                    assert_eq!(pulled.exit, 3, "{key}: {pulled:?}");
                    for (path, facts) in tree(&sealed.world.path(&target)) {
                        let original = tree(&sealed.world.source());
                        assert!(facts.0 != 'f' || original.get(&path).is_some_and(|own| own.5 == facts.5), "{key}");
                    }
                }
            }
            if key.contains("/packs/") {
                let checked = sealed.check(&sealed.world.machine, 1.0).await;
                assert_ne!(checked.exit, 0, "{key}");
            }
        }
        sealed.bucket.plant(&key, whole);
    }
    assert!(cases >= 60, "{cases}");
    sealed.comes_back("as it was").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_state_another_history_and_a_downgrade_are_refused() {
    let sealed = Sealed::new("rollback");
    for state in 0..4 {
        sealed.world.write("state", &noise(state, 500));
        sealed.world.synced(&sealed.backend).await;
    }
    let newest = sealed.key("snapshots/");
    let (body, older) = (sealed.bucket.content(&newest).unwrap(), sealed.bucket.content(&newest.replace("04", "03")).unwrap());
    let refused = |outcome: &engine::Outcome, about: &str| {
        assert!(outcome.exit != 0 && outcome.bytes.sent == 0, "{about}: {outcome:?}");
    };
    sealed.world.write("state", b"next");
    // The newest one is hidden, then replaced by the one before it under its name.
    sealed.bucket.lose(&newest);
    let hidden = sealed.world.sync(&sealed.backend).await;
    assert_eq!(hidden.exit, 4, "{hidden:?}");
    sealed.bucket.plant(&newest, older);
    refused(&sealed.world.sync(&sealed.backend).await, "an older one under its name");
    // One that is not sealed is no snapshot.
    sealed.bucket.plant(&newest, body.clone());
    sealed.bucket.plant(".offsite/snapshots/000000000009.json", "{}");
    assert_eq!(sealed.world.sync(&sealed.backend).await.snapshot, Some(5));
    sealed.bucket.lose(".offsite/snapshots/000000000009.json");
    // The whole destination says that it is not sealed.
    let format = sealed.bucket.content(".offsite/format.json").unwrap();
    let open = String::from_utf8(format.to_vec()).unwrap().replace("\"sealed\":true", "\"sealed\":false");
    assert_ne!(open.as_bytes(), &format[..]);
    sealed.bucket.plant(".offsite/format.json", open);
    sealed.bucket.lose(&sealed.key("snapshots/"));
    refused(&sealed.world.sync(&sealed.backend).await, "a downgrade");
    fs::remove_dir_all(sealed.world.path("cache")).unwrap();
    let before = sealed.bucket.keys().len();
    refused(&sealed.world.sync(&sealed.backend).await, "a downgrade, and no cache");
    assert_eq!(sealed.bucket.keys().len(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sealed_is_never_made_again_in_the_clear() {
    let mut sealed = Sealed::new("emptied");
    fill(&sealed.world);
    sealed.world.synced(&sealed.backend).await;
    let wish = sealed.world.options.seal.take();
    // Without its cache: the writer key decides, and not what the destination says of itself.
    let all: Vec<_> = sealed.bucket.keys().into_iter().map(|key| (key.clone(), sealed.bucket.content(&key).unwrap())).collect();
    for (key, body) in &all {
        if key == ".offsite/format.json" {
            let open = String::from_utf8(body.to_vec()).unwrap().replace("\"sealed\":true,", "").replace("\"layout\":\"packed\",", "");
            sealed.bucket.plant(key, open.replace("\"format\":2", "\"format\":1"));
        } else {
            sealed.bucket.lose(key);
        }
    }
    fs::rename(sealed.world.path("cache"), sealed.world.path("cache-away")).unwrap();
    let refused = sealed.world.sync(&sealed.backend).await;
    assert!(refused.exit != 0 && sealed.bucket.keys().len() == 1, "{refused:?}");
    // With its cache, and emptied: only if it is sealed again.
    let _ = fs::remove_dir_all(sealed.world.path("cache"));
    fs::rename(sealed.world.path("cache-away"), sealed.world.path("cache")).unwrap();
    sealed.bucket.lose(".offsite/format.json");
    sealed.world.options.start_over = true;
    let refused = sealed.world.sync(&sealed.backend).await;
    assert!(refused.exit == 2 && sealed.bucket.keys().is_empty(), "{refused:?}");
    sealed.world.options.seal = wish;
    sealed.world.synced(&sealed.backend).await;
    assert!(sealed.bucket.keys().iter().all(|key| !key.ends_with(".age.age")), "{:?}", sealed.bucket.keys());
    sealed.comes_back("begun again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_file_of_a_stranger_is_not_sealed_to() {
    let sealed = Sealed::new("stranger");
    fill(&sealed.world);
    sealed.world.synced(&sealed.backend).await;
    // Anyone can seal keys to the owner, who publishes the recipient.
    let owner = sealed.world.options.seal.clone().unwrap().to;
    let format: serde_json::Value = serde_json::from_slice(&sealed.bucket.content(".offsite/format.json").unwrap()).unwrap();
    let mut forged = KeySet::new(format["id"].as_str().unwrap(), "2026-11-28").unwrap();
    forged.number = 9;
    let text = forged.print();
    let recipients: Vec<_> = owner.iter().map(|to| to.parse().unwrap()).collect();
    sealed.bucket.plant(".offsite/keys/9.age", seal_keys(&recipients, &text, KeyRing::default().ask()).unwrap());
    // The host seals to its own key, also with the identity at hand. A machine without a writer key does not write.
    sealed.world.write("after", SECRET);
    let mut both = Sealed { world: world(), bucket: sealed.bucket.clone(), backend: Arc::clone(&sealed.backend) };
    both.world.machine = Machine {
        keys: KeyRing { identities: vec![sealed.world.path("owner")], ..sealed.world.machine.keys.clone() },
        ..sealed.world.machine.clone()
    };
    let outcome = engine::sync_over(
        &both.world.machine,
        &sealed.world.source(),
        vec![(sealed.backend.location().to_string(), Ok(Arc::clone(&sealed.backend)))],
        &sealed.world.options,
        &RunControl::new(1),
    )
    .await;
    assert_eq!(outcome.exit, 0, "{outcome:?}");
    let stranger = sealed.world.path("stranger");
    fs::write(&stranger, &*text).unwrap();
    let keys = KeyRing { identities: vec![stranger], ..KeyRing::default() };
    let stranger = Machine { cache_dir: sealed.world.path("stranger-cache"), host: "stranger".into(), keys };
    assert!(sealed.pull(&stranger, "stolen").await.is_err());
    sealed.comes_back("with a stranger's key file").await;
    let refused = engine::sync_over(
        &sealed.owner("only-an-identity"),
        &sealed.world.source(),
        vec![(sealed.backend.location().to_string(), Ok(Arc::clone(&sealed.backend)))],
        &sealed.world.options,
        &RunControl::new(1),
    )
    .await;
    assert_eq!(refused.exit, 2, "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_another_destination_is_not_taken() {
    let sealed = Sealed::new("one");
    fill(&sealed.world);
    sealed.world.synced(&sealed.backend).await;
    let (bucket, other) = memory("other");
    sealed.world.synced(&other).await;
    let key = sealed.key("snapshots/");
    sealed.bucket.plant(&key, bucket.content(&key).unwrap());
    assert!(sealed.pull(&sealed.owner("reads"), "target").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn recipients_are_added_and_keys_rotated() {
    let world = world();
    fill(&world);
    let url = world.path("vault").display().to_string();
    let sync = async |options: &SyncOptions| {
        let outcome = engine::sync(&world.machine, &world.source(), std::slice::from_ref(&url), options, &RunControl::new(1)).await;
        assert_eq!(outcome.exit, 0, "{outcome:?}");
    };
    sync(&world.options).await;
    let with = |names: &[&str]| {
        let keys = KeyRing { identities: names.iter().map(|name| world.path(name)).collect(), ..KeyRing::default() };
        Machine { cache_dir: world.path(&format!("cache-{}", names.concat())), host: "owner".into(), keys }
    };
    let pull = async |name: &str, target: &str| {
        let pulled = engine::pull(&with(&[name]), &url, &world.path(target), &PullOptions::default(), &RunControl::new(1)).await?;
        assert_eq!(pulled.exit, 0, "{pulled:?}");
        same_trees(&world.source(), &world.path(target));
        Ok::<_, offsite::error::Error>(())
    };
    let safe = identity(&world, "safe");
    assert!(pull("safe", "too-early").await.is_err());
    let shown = engine::add_key(&with(&["owner"]), &url, &wish(&[&safe])).await.unwrap();
    assert_eq!((shown.added.clone(), shown.files.len()), (vec!["2.age".to_owned()], 2));
    pull("safe", "by-the-safe").await.unwrap();

    // Rotated without the owner: what is new is for the safe alone.
    engine::rotate_keys(&world.machine, &url, &wish(&[&safe])).await.unwrap();
    world.write("after", &noise(3, 2_000));
    sync(&world.options).await;
    pull("safe", "all-of-it").await.unwrap();
    assert!(pull("owner", "no-more").await.is_err());
    let shown = engine::show_keys(&world.machine, &url).await.unwrap();
    assert_eq!(shown.files.len(), 3);

    // A second host gets its key from the owner.
    let key = engine::writer_key(&with(&["safe"]), &url).await.unwrap();
    assert!(!key.contains(&*Identity::random().unwrap().reveal()) && key.starts_with("# offsite writer key"));
    let id = key.split(' ').nth(5).unwrap().trim_end_matches(':').to_owned();
    let keys = world.path("second-keys");
    fs::create_dir(&keys).unwrap();
    fs::write(keys.join(format!("{id}.key")), &*key).unwrap();
    let ring = KeyRing { dir: Some(keys), ..KeyRing::default() };
    let second = Machine { cache_dir: world.path("second-cache"), host: "test-host".into(), keys: ring };
    world.write("by-the-second", b"host");
    let outcome = engine::sync(&second, &world.source(), std::slice::from_ref(&url), &options(), &RunControl::new(1)).await;
    assert_eq!((outcome.exit, outcome.destinations[0].changes.added), (0, 1), "{outcome:?}");
    pull("safe", "of-two-hosts").await.unwrap();
    let sheet = engine::paper_key(&with(&["safe"]), &url).await.unwrap();
    fs::write(world.path("paper"), &*sheet).unwrap();
    pull("paper", "from-the-sheet").await.unwrap();
    assert_eq!(sheet.matches("AGE-SECRET-KEY-1").count(), 4, "contents and names, before and after the rotation");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_call() {
    for scene in ["first", "change"] {
        for call in 1.. {
            let sealed = Sealed::new(&format!("killed-{scene}-{call}"));
            for i in 0..5 {
                sealed.world.write(&format!("dir/{i}"), &noise(i, 3_000));
            }
            let first = scene == "first";
            if !first {
                sealed.world.synced(&sealed.backend).await;
                sealed.world.write("dir/0", &noise(9, 3_000));
                sealed.world.remove("dir/1");
            }
            let (faulty, killed) = faulty(&sealed.backend);
            faulty.script().stop_at(call);
            let outcome = sealed.world.sync(&killed).await;
            if outcome.exit == 0 {
                assert!(call > 5, "{scene}: {call}");
                break;
            }
            sealed.world.synced(&sealed.backend).await;
            sealed.comes_back(&format!("{scene}: killed at call {call}")).await;
            let checked = sealed.check(&sealed.world.machine, 1.0).await;
            assert_eq!((checked.exit, checked.foreign), (0, 0), "{scene}: killed at call {call}: {checked:?}");
        }
    }
}

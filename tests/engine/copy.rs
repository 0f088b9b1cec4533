//! Copies of whole destinations: every snapshot arrives as it was, with its time, and a copy that is cut off goes on.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::sync::Arc;

use offsite::engine::{
    self, CopyOptions, CopyOutcome, CopySelection, Destination, KeyRing, Machine, PullOptions, RunControl, SealWish, SyncOptions,
};
use offsite::error::Result;
use offsite::manifest::PageSource;
use offsite::model::{Content, Entry, Layout, Sample};
use offsite::seal::Identity;
use offsite_backends::Backend;
use offsite_backends::testing::MemoryOptions;

use crate::harness::*;

/// How a destination of these tests keeps contents.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form {
    Mirror,
    Packed,
    Sealed,
}

fn writing(world: &World, form: Form, name: &str) -> SyncOptions {
    let seal = (form == Form::Sealed).then(|| {
        let path = world.path(&format!("{name}-owner"));
        let identity = Identity::random().unwrap();
        fs::write(path, format!("{}\n", *identity.reveal())).unwrap();
        SealWish { to: vec![identity.recipient().to_string()], only_key: true, ..SealWish::default() }
    });
    SyncOptions { layout: (form != Form::Mirror).then_some(Layout::Packed), seal, ..options() }
}

/// The machine that copies. It has the identities of all sealed destinations of these tests.
pub fn copier(world: &World) -> Machine {
    let identities = ["from", "to"].map(|name| world.path(&format!("{name}-owner"))).into_iter().filter(|path| path.exists());
    let keys = KeyRing { identities: identities.collect(), dir: Some(world.path("keys")), ..KeyRing::default() };
    Machine { keys, ..world.machine.clone() }
}

/// A world whose source was synced three times. `first`, `second` and `third` have its states.
pub struct Story {
    pub world: World,
    pub from: Arc<dyn Backend>,
}

pub const STATES: [&str; 3] = ["first", "second", "third"];

pub fn keep_state(world: &World, name: &str) {
    let done = std::process::Command::new("cp").arg("-a").arg(world.source()).arg(world.path(name)).status().unwrap();
    assert!(done.success());
}

/// Bytes that do not compress, of any length.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn first_state(world: &World, large: usize) {
    for n in 0..12 {
        world.write(&format!("dir/{n:02}.txt"), format!("first {n}").as_bytes());
    }
    world.write("empty", b"");
    world.write("same size", b"one content");
    world.write("goes", b"to be removed");
    world.write("kind", b"a file now");
    world.write("moves/here.bin", &noise(1, 300_000));
    world.write("large", &noise(2, large));
    world.write("odd/\u{e9} \n\"name\"", b"odd");
    world.write(".offsite-like", b"x");
    std::os::unix::fs::symlink("dir/00.txt", world.source().join("link")).unwrap();
    fs::create_dir_all(world.source().join("empty directory")).unwrap();
    let hole = fs::File::create(world.source().join("sparse")).unwrap();
    hole.set_len(3 << 20).unwrap();
    let _ = rustix::fs::setxattr(world.source().join("same size"), "user.note", b"\0\xff", rustix::fs::XattrFlags::empty());
    let _ = fs::hard_link(world.source().join("dir/01.txt"), world.source().join("dir/other name.txt"));
    use std::os::unix::ffi::OsStrExt;
    let raw = std::ffi::OsStr::from_bytes(b"not utf-8 \xff");
    fs::write(world.source().join(raw), b"raw").unwrap();
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(world.source().join("goes"), fs::Permissions::from_mode(0o600)).unwrap();
}

fn second_state(world: &World, large: usize) {
    world.write("same size", b"two content");
    world.remove("goes");
    world.remove("kind");
    world.write("kind/is a directory", b"now");
    world.write("new", b"new");
    fs::rename(world.source().join("moves/here.bin"), world.source().join("moves/there.bin")).unwrap();
    world.remove("link");
    std::os::unix::fs::symlink("new", world.source().join("link")).unwrap();
    let mut bytes = noise(2, large);
    bytes[large / 2] ^= 1;
    world.write("large", &bytes);
}

fn third_state(world: &World) {
    world.write("goes", b"came back, but longer");
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(world.source().join("new"), fs::Permissions::from_mode(0o750)).unwrap();
    fs::remove_dir_all(world.source().join("kind")).unwrap();
}

impl Story {
    pub async fn told(form: Form, from: impl FnOnce(&World) -> Arc<dyn Backend>, large: usize) -> Self {
        let mut world = World::new();
        world.options = writing(&world, form, "from");
        world.machine.keys.dir = Some(world.path("keys"));
        let from = from(&world);
        first_state(&world, large);
        world.synced(&from).await;
        keep_state(&world, STATES[0]);
        second_state(&world, large);
        world.synced(&from).await;
        keep_state(&world, STATES[1]);
        third_state(&world);
        world.synced(&from).await;
        keep_state(&world, STATES[2]);
        Self { world, from }
    }

    pub async fn copy(&self, to: &Arc<dyn Backend>, options: &CopyOptions) -> Result<CopyOutcome> {
        copy(&copier(&self.world), &self.from, to, options).await
    }

    /// Every snapshot at `to` is as at the destination that was copied, entry by entry, and comes back.
    pub async fn is_at(&self, to: &Arc<dyn Backend>, about: &str) {
        let machine = Machine { cache_dir: self.world.path(&format!("look-{:016x}", rand())), ..copier(&self.world) };
        let (a, b) = (open(&self.from, &machine).await, open(to, &machine).await);
        let (of_a, of_b) = (a.records.snapshots(None).await.unwrap(), b.records.snapshots(None).await.unwrap());
        assert_eq!(times(&a).await, times(&b).await, "{about}");
        for (n, (in_a, in_b)) in of_a.iter().zip(&of_b).enumerate() {
            let (snapshot_a, entries_a) = entries(&a, in_a.number).await;
            let (snapshot_b, entries_b) = entries(&b, in_b.number).await;
            assert_eq!(entries_a.keys().collect::<Vec<_>>(), entries_b.keys().collect::<Vec<_>>(), "{about} {n}");
            for (path, entry) in &entries_a {
                assert_eq!(Some(entry), entries_b.get(path), "{about} {n}");
            }
            assert_eq!((&snapshot_a.tree, &snapshot_a.host, &snapshot_a.source), (&snapshot_b.tree, &snapshot_b.host, &snapshot_b.source));
            assert_eq!((&snapshot_a.time, snapshot_a.totals), (&snapshot_b.time, snapshot_b.totals), "{about} {n}");
            let target = self.world.path(&format!("back-{:016x}", rand()));
            let at = PullOptions { at: Some(in_b.number.to_string()), ..PullOptions::default() };
            let pulled = engine::pull_over(open(to, &machine).await, &target, &at, &RunControl::new(1)).await.unwrap();
            assert_eq!((pulled.exit, pulled.problems), (0, Sample::default()), "{about} {n}");
            same_trees(&self.world.path(STATES[in_a.number as usize - 1]), &target);
            fs::remove_dir_all(&target).unwrap();
        }
        let check = engine::CheckOptions { read_data: Some(1.0), ..engine::CheckOptions::default() };
        let checked = engine::check_over(open(to, &machine).await, &machine, &check, &RunControl::new(1)).await.unwrap();
        assert_eq!((checked.exit, &checked.findings), (0, &Vec::new()), "{about}: {checked:?}");
        // What the probe of a first run that was killed leaves.
        let probe = |foreign: &engine::Foreign| foreign.key.to_string().starts_with(".offsite/probe/");
        assert!(checked.foreign_listed.iter().all(probe), "{about}: {checked:?}");
    }
}

pub fn rand() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

pub async fn copy(machine: &Machine, from: &Arc<dyn Backend>, to: &Arc<dyn Backend>, options: &CopyOptions) -> Result<CopyOutcome> {
    let url = to.location().to_string();
    engine::copy_over(machine, Arc::clone(from), (&url, Arc::clone(to)), options, &RunControl::new(1)).await
}

pub async fn open(backend: &Arc<dyn Backend>, machine: &Machine) -> Destination {
    let mut destination = Destination::over(Arc::clone(backend), machine).unwrap();
    destination.unlock(&machine.keys).await.unwrap();
    destination
}

/// The times of the snapshots, for whom they must be exact: retention.
pub async fn times(of: &Destination) -> Vec<i64> {
    of.records.snapshots_to_expire().await.unwrap().iter().map(|snapshot| snapshot.modified.timestamp()).collect()
}

/// A snapshot and its entries, without where their contents are.
pub async fn entries(destination: &Destination, number: u64) -> (offsite::model::Snapshot, BTreeMap<String, Entry>) {
    let (snapshot, _) = destination.records.snapshot(number).await.unwrap();
    let source = PageSource::new(destination.records.clone());
    let (leaves, _, lost) = source.leaves(&snapshot, |_, _| true).await.unwrap();
    assert!(lost.is_empty());
    let mut found = BTreeMap::new();
    let read = source.read(leaves, |leaf| {
        for entry in leaf.unwrap().entries {
            let content = entry.content.as_ref().map(|content| Content::new(content.hash, 0));
            found.insert(entry.path.to_string(), Entry { content, odd: false, ..entry });
        }
        Ok(ControlFlow::Continue(()))
    });
    read.await.unwrap();
    (snapshot, found)
}

pub fn to_options(world: &World, form: Form) -> CopyOptions {
    CopyOptions { writing: writing(world, form, "to"), ..CopyOptions::default() }
}

#[track_caller]
pub fn copied(outcome: Result<CopyOutcome>, snapshots: &[u64]) -> CopyOutcome {
    let outcome = outcome.unwrap();
    assert_eq!((outcome.exit, &outcome.error, &outcome.warnings), (0, &None, &Vec::new()), "{outcome:?}");
    assert_eq!(outcome.copied.iter().map(|one| one.from).collect::<Vec<_>>(), snapshots, "{outcome:?}");
    outcome
}

const LARGE: usize = 44 << 20;

async fn arrives(from: Form, to: Form, directories: bool) {
    let about = format!("{from:?} to {to:?}");
    let story = Story::told(from, |world| place(world, "from", directories), LARGE).await;
    let target = place(&story.world, "to", !directories);
    let options = to_options(&story.world, to);
    copied(story.copy(&target, &options).await, &[1, 2, 3]);
    story.is_at(&target, &about).await;
    copied(story.copy(&target, &options).await, &[]);
}

pub fn place(world: &World, name: &str, directory: bool) -> Arc<dyn Backend> {
    if directory { world.file(name) } else { memory(&format!("{name}-{:016x}", rand())).1 }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_becomes_packed() {
    arrives(Form::Mirror, Form::Packed, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_in_a_directory_becomes_packed_in_a_bucket() {
    arrives(Form::Mirror, Form::Packed, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_packed_one_becomes_a_mirror_in_a_directory() {
    arrives(Form::Packed, Form::Mirror, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_packed_one_in_a_directory_becomes_a_mirror_in_a_bucket() {
    arrives(Form::Packed, Form::Mirror, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_packed_one_becomes_sealed_with_keys_of_its_own() {
    arrives(Form::Packed, Form::Sealed, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_one_becomes_packed() {
    arrives(Form::Sealed, Form::Packed, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_one_becomes_sealed_with_other_keys() {
    arrives(Form::Sealed, Form::Sealed, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_of_a_bucket_with_versions_becomes_a_mirror() {
    let bucket = |_: &World| memory_with("versions", MemoryOptions { versions: true, ..MemoryOptions::default() }).1;
    let story = Story::told(Form::Mirror, bucket, 20 << 20).await;
    let (_, to) = memory("plain");
    copied(story.copy(&to, &to_options(&story.world, Form::Mirror)).await, &[1, 2, 3]);
    story.is_at(&to, "versions").await;
}

/// What the new destination has is not read again, and a copy without news is a few requests.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_copy_reads_only_what_is_new() {
    for (from, to) in [(Form::Mirror, Form::Packed), (Form::Packed, Form::Mirror)] {
        let story = Story::told(from, |world| place(world, "from", false), 9 << 20).await;
        let (_, target) = memory("to");
        let options = to_options(&story.world, to);
        let first = CopyOptions { select: CopySelection::Numbers(vec![1..=2]), ..options.clone() };
        let done = copied(story.copy(&target, &first).await, &[1, 2]);
        assert!(done.copied[1].read < 10 << 20, "the changed large file and small ones: {done:?}");
        let second = done.copied[1].sent;
        assert!(second > 0 && second < if to == Form::Packed { 4 << 20 } else { 10 << 20 }, "of this snapshot only: {done:?}");
        let done = copied(story.copy(&target, &options).await, &[3]);
        assert_eq!((done.copied[0].read, done.last), (21, Some(2)), "{done:?}");
        let again = copied(story.copy(&target, &options).await, &[]);
        // The requests to a memory backend are counted over its life.
        let before = (done.requests_from, done.requests_to);
        let number = |of: &offsite_backends::Requests| {
            serde_json::to_value(of).unwrap().as_object().unwrap().values().filter_map(serde_json::Value::as_u64).sum::<u64>()
        };
        assert!(number(&again.requests_from) - number(&before.0) <= 5, "{again:?}");
        assert!(number(&again.requests_to) - number(&before.1) <= 5, "{again:?}");
        story.is_at(&target, "in two parts").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_newest_and_a_number_that_does_not_exist() {
    let story = Story::told(Form::Mirror, |world| place(world, "from", false), 1 << 20).await;
    let (_, to) = memory("to");
    let options = to_options(&story.world, Form::Packed);
    let wrong = CopyOptions { select: CopySelection::Numbers(vec![7..=9]), ..options.clone() };
    let error = story.copy(&to, &wrong).await.unwrap_err();
    assert_eq!((error.exit_code(), error.to_string().contains("no snapshot 7..9; its snapshots are 1 to 3")), (2, true), "{error}");
    let dry = CopyOptions { dry_run: true, ..options.clone() };
    let outcome = story.copy(&to, &dry).await.unwrap();
    assert_eq!((outcome.copied.len(), outcome.copied[0].to, outcome.exit), (3, None, 0));
    let newest = CopyOptions { select: CopySelection::Last(1), ..options.clone() };
    let outcome = copied(story.copy(&to, &newest).await, &[3]);
    assert_eq!(outcome.copied[0].to, Some(1));
    copied(story.copy(&to, &options).await, &[]);
}

/// Small files that lie together in a pack come together.
#[tokio::test(flavor = "multi_thread")]
async fn small_files_are_not_read_one_by_one() {
    let mut world = World::packed();
    let (_, from) = memory("from");
    for n in 0..800 {
        world.write(&format!("{}/{n:04}", n % 7), &noise(n, 300));
    }
    world.synced(&from).await;
    for to in [Form::Mirror, Form::Packed] {
        let before = from.meter().requests().get;
        world.options = options();
        let outcome = copied(copy(&copier(&world), &from, &place(&world, "to", false), &to_options(&world, to)).await, &[1]);
        let got = from.meter().requests().get - before;
        assert!(got < 20, "{to:?}: {got} requests for 800 files, {outcome:?}");
    }
}

/// A disk that takes two names for one gets both files, and a third name that is only in capitals.
#[tokio::test(flavor = "multi_thread")]
async fn names_that_a_disk_folds_stay_two_files() {
    let world = World::new();
    let (_, from) = memory("from");
    for (name, content) in [("Twin", "one"), ("twin", "two"), ("Dir/a", "three"), ("dir/b", "four"), ("ALONE", "five")] {
        world.write(name, content.as_bytes());
    }
    world.synced(&from).await;
    keep_state(&world, STATES[0]);
    world.write("TWIN", b"six");
    world.remove("Twin");
    world.synced(&from).await;
    keep_state(&world, STATES[1]);
    let folding: Arc<dyn Backend> = Arc::new(offsite_backends::testing::Folding::new(world.file("folding")));
    let story = Story { world, from };
    copied(story.copy(&folding, &to_options(&story.world, Form::Mirror)).await, &[1, 2]);
    story.is_at(&folding, "folding").await;
}

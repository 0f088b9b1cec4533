//! What the tests share: a tree to change, stores to sync it to, and comparing trees to the last bit.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use age::secrecy::ExposeSecret;
use offsite::engine::{
    self, Destination, KeyRing, Machine, Outcome, PullOptions, PullOutcome, RunControl, SealWish, SyncOptions, SyncOutcome,
};
use offsite::error::Result;
use offsite::model::{KeepRules, Layout, Sample};
use offsite::plan::{Limits, Prices};
use offsite::scan::WalkOptions;
use offsite_backends::Backend;
use offsite_backends::file::FileBackend;
use offsite_backends::testing::{Faulty, MemoryBackend, MemoryOptions};
use tempfile::TempDir;

pub struct World {
    pub dir: TempDir,
    pub machine: Machine,
    pub options: SyncOptions,
}

impl World {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("source")).unwrap();
        let machine = Machine { cache_dir: dir.path().join("cache"), host: "test-host".into(), keys: keys() };
        Self { machine, options: options(), dir }
    }

    /// A world whose destinations are packed, whichever layout the suite is run with.
    pub fn packed() -> Self {
        let mut world = Self::new();
        world.options.layout = Some(Layout::Packed);
        world
    }

    pub fn source(&self) -> PathBuf {
        self.dir.path().join("source")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file of the source, long enough ago not to be looked at twice.
    pub fn write(&self, name: &str, content: &[u8]) {
        let path = self.source().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub fn remove(&self, name: &str) {
        fs::remove_file(self.source().join(name)).unwrap();
    }

    pub async fn sync(&self, backend: &Arc<dyn Backend>) -> Outcome {
        let mut outcome = self.sync_to(vec![Arc::clone(backend)]).await;
        outcome.destinations.remove(0)
    }

    /// A sync that must come out clean.
    pub async fn synced(&self, backend: &Arc<dyn Backend>) -> Outcome {
        let outcome = self.sync(backend).await;
        assert_eq!((outcome.exit, &outcome.error, &outcome.warnings), (0, &None, &Vec::new()), "{outcome:?}");
        outcome
    }

    pub async fn sync_to(&self, backends: Vec<Arc<dyn Backend>>) -> SyncOutcome {
        // Stamps of files written in this very tick prove nothing; let the tick pass.
        std::thread::sleep(std::time::Duration::from_millis(30));
        let report = RunControl::new(backends.len());
        let opened = backends.into_iter().map(|b| (b.location().to_string(), Ok(b))).collect();
        engine::sync_over(&self.machine, &self.source(), opened, &self.options, &report).await
    }

    pub async fn pull(&self, backend: &Arc<dyn Backend>, target: &str, options: &PullOptions) -> Result<PullOutcome> {
        let destination = opened(backend, &self.machine).await?;
        engine::pull_over(destination, &self.path(target), options, &RunControl::new(1)).await
    }

    /// Pulls the newest snapshot into a fresh directory and compares it with the source.
    pub async fn comes_back(&self, backend: &Arc<dyn Backend>) {
        let target = format!("back-{:x}", fs::read_dir(self.dir.path()).unwrap().count());
        let pulled = self.pull(backend, &target, &PullOptions::default()).await.unwrap();
        assert_eq!(pulled.problems, Sample::default());
        same_trees(&self.source(), &self.path(&target));
        fs::remove_dir_all(self.path(&target)).unwrap();
    }

    /// The same from a machine that knows nothing of the destination.
    pub fn elsewhere(&self, name: &str) -> Machine {
        Machine { cache_dir: self.path(name), host: name.into(), keys: keys() }
    }

    pub fn file(&self, name: &str) -> Arc<dyn Backend> {
        let location = offsite_backends::Location::from_dir(self.path(name)).unwrap();
        Arc::new(FileBackend::open(location).unwrap())
    }
}

/// The layout of the destinations that tests make, unless they ask for one themselves: `layouts.rs` runs the suite once
/// more over packed ones, and over sealed ones.
pub fn layout() -> Layout {
    match std::env::var("OFFSITE_TEST_LAYOUT").as_deref() {
        Ok("packed" | "sealed") => Layout::Packed,
        Ok(other) => panic!("OFFSITE_TEST_LAYOUT is `packed`, `sealed` or not set, not `{other}`"),
        Err(_) => Layout::Mirror,
    }
}

/// Whether the packed destinations that tests make are sealed.
pub fn sealed() -> bool {
    std::env::var_os("OFFSITE_TEST_LAYOUT").is_some_and(|layout| layout == "sealed")
}

/// What an object is called at the destinations that tests make.
pub fn named(key: &str) -> String {
    if sealed() && key != ".offsite/format.json" { format!("{key}.age") } else { key.to_owned() }
}

/// The owner's identity, whose recipient all sealed destinations of this process have.
pub fn owner() -> &'static age::x25519::Identity {
    static OWNER: OnceLock<age::x25519::Identity> = OnceLock::new();
    OWNER.get_or_init(age::x25519::Identity::generate)
}

/// The keys of every machine: it writes and cannot read. One directory for all, because worlds take turns at one place.
fn keys() -> KeyRing {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    let dir = || std::env::var_os("OFFSITE_TEST_KEYS").map_or_else(|| tempfile::tempdir().unwrap().keep(), PathBuf::from);
    let dir = sealed().then(|| DIR.get_or_init(dir).clone());
    KeyRing { dir, ..KeyRing::default() }
}

/// A destination as its owner opens it.
pub async fn opened(backend: &Arc<dyn Backend>, machine: &Machine) -> Result<Destination> {
    let mut destination = Destination::over(Arc::clone(backend), machine)?;
    if sealed() {
        static FILE: OnceLock<PathBuf> = OnceLock::new();
        let identity = FILE.get_or_init(|| {
            let file = keys().dir.unwrap().join("owner.txt");
            fs::write(&file, owner().to_string().expose_secret()).unwrap();
            file
        });
        destination.unlock(&KeyRing { identities: vec![identity.clone()], ..machine.keys.clone() }).await?;
    }
    Ok(destination)
}

/// What a test expects of a mirror, or of a packed destination.
pub fn either<T>(mirror: T, packed: T) -> T {
    if layout().is_mirror() { mirror } else { packed }
}

pub fn options() -> SyncOptions {
    SyncOptions {
        walk: WalkOptions::default(),
        inner: Default::default(),
        checksum: false,
        adopt: false,
        start_over: false,
        keep: KeepRules { within: Some(30 * 86_400), ..KeepRules::default() },
        // Worlds take turns at one place here; what the guard says to that is tested over the program.
        limits: Limits { removals: 1.0, rewrites: 1.0, take_over: true, ..Limits::default() },
        price: Prices::shipped().unwrap().get("aws/s3-standard").unwrap().clone(),
        price_name: "aws/s3-standard".into(),
        transfers: None,
        limit_upload: None,
        limit_download: None,
        job: None,
        kind: None,
        dumps: Vec::new(),
        drift: Vec::new(),
        layout: Some(layout()).filter(|layout| !layout.is_mirror()),
        layouts: Vec::new(),
        seal: sealed().then(|| SealWish { to: vec![owner().to_public().to_string()], only_key: true, ..SealWish::default() }),
        seals: Vec::new(),
        append_only: Vec::new(),
        repack_after: Vec::new(),
    }
}

pub fn memory(name: &str) -> (MemoryBackend, Arc<dyn Backend>) {
    memory_with(name, MemoryOptions::default())
}

pub fn memory_with(name: &str, options: MemoryOptions) -> (MemoryBackend, Arc<dyn Backend>) {
    let backend = MemoryBackend::with(name, options).unwrap();
    (backend.clone(), Arc::new(backend))
}

pub fn faulty(inner: &Arc<dyn Backend>) -> (Arc<Faulty>, Arc<dyn Backend>) {
    let faulty = Arc::new(Faulty::new(Arc::clone(inner)));
    (Arc::clone(&faulty), faulty)
}

type Facts = (char, u64, u32, i64, i64, Vec<u8>);

/// Everything that a round trip keeps, by path.
pub fn tree(root: &Path) -> BTreeMap<Vec<u8>, Facts> {
    let mut out = BTreeMap::new();
    walk(root, root, &mut out);
    out
}

fn walk(root: &Path, dir: &Path, out: &mut BTreeMap<Vec<u8>, Facts>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
        if name == b".offsite" {
            continue;
        }
        let (kind, content) = if meta.is_dir() {
            ('d', Vec::new())
        } else if meta.is_symlink() {
            ('l', fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec())
        } else if meta.is_file() {
            ('f', blake3::hash(&fs::read(&path).unwrap()).as_bytes()[..8].to_vec())
        } else {
            continue;
        };
        let size = if kind == 'f' { meta.len() } else { 0 };
        let mode = if kind == 'l' { 0 } else { meta.permissions().mode() & 0o7777 };
        out.insert(name, (kind, size, mode, meta.mtime(), meta.mtime_nsec(), content));
        if meta.is_dir() {
            walk(root, &path, out);
        }
    }
}

#[track_caller]
pub fn same_trees(a: &Path, b: &Path) {
    let (a, b) = (tree(a), tree(b));
    for (path, facts) in &a {
        assert_eq!(Some(facts), b.get(path), "{}", String::from_utf8_lossy(path));
    }
    let extra: Vec<_> = b.keys().filter(|p| !a.contains_key(*p)).map(|p| String::from_utf8_lossy(p)).collect();
    assert!(extra.is_empty(), "only in the copy: {extra:?}");
}

//! What packs cost: memory and time of the index of pieces, and what levels of zstd and lengths of frames save.
//!
//! Nothing here runs in CI. integration/bench/README.md has the commands, and docs/design.md what was found.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use offsite::model::{Hash, Piece};
use offsite::packs::{Cutter, KnownPieces};
use rustix::fs::Advice;
use rustix::time::{ClockId, clock_gettime};

const MIB: usize = 1 << 20;

/// CPU time of this process so far.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn cpu_since(earlier: Duration) -> Duration {
    cpu().saturating_sub(earlier)
}

/// The most memory this process has had, in MiB.
fn most_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() >> 10
}

/// Pieces of 10 TiB: of 512 KiB each, 32 in a pack.
const RECORDS: u64 = 20_000_000;

fn named(n: u64) -> Hash {
    Hash::of(&n.to_le_bytes())
}

fn record(n: u64, pack: Hash) -> Piece {
    Piece { size: 512 << 10, hash: named(n), pack, frame: 24 + (n % 32) * (512 << 10), length: 512 << 10, skip: 0 }
}

fn pack(number: u64) -> Hash {
    Hash::of(&[number.to_le_bytes(), *b"the pack"].concat())
}

/// Takes the files out of the page cache.
fn make_cold(dir: &Path) {
    for file in std::fs::read_dir(dir.join("pieces")).unwrap() {
        let file = std::fs::File::open(file.unwrap().path()).unwrap();
        file.sync_all().unwrap();
        rustix::fs::fadvise(&file, 0, None, Advice::DontNeed).unwrap();
    }
}

#[test]
#[ignore = "takes minutes and 4 GB of disk"]
fn an_index_of_10_tib_takes_128_mib_at_most() {
    let dir = tempfile::tempdir().unwrap();
    let (start, before) = (Instant::now(), cpu());
    let mut known = KnownPieces::open(dir.path(), "id").unwrap();
    for number in 0..RECORDS / 32 {
        let pack = pack(number);
        (number * 32..(number + 1) * 32).for_each(|n| known.note(&record(n, pack)).unwrap());
    }
    known.keep().unwrap();
    drop(known);
    println!("{RECORDS} records noted in {:.1?}, CPU {:.1?}, {} MiB", start.elapsed(), cpu_since(before), most_memory());

    make_cold(dir.path());
    let (start, before) = (Instant::now(), cpu());
    let mut known = KnownPieces::open(dir.path(), "id").unwrap();
    (0..RECORDS / 32).for_each(|number| known.lives(&pack(number)));
    println!("opened in {:.1?}, CPU {:.1?}", start.elapsed(), cpu_since(before));
    let (start, before) = (Instant::now(), cpu());
    let mut found = 0;
    for look in 0..1_000_000 {
        // Half of them are nowhere.
        let n = look * 7_919 % (2 * RECORDS);
        let place = known.get(&named(n), 512 << 10).unwrap();
        assert_eq!(place, (n < RECORDS).then(|| record(n, pack(n / 32))));
        found += u32::from(place.is_some());
    }
    println!("1000000 look-ups, {found} found, in {:.1?}, CPU {:.1?}, {} MiB", start.elapsed(), cpu_since(before), most_memory());
    assert!(most_memory() <= 128, "{} MiB", most_memory());
}

/// Files of a tree, in the order of their paths.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut entries: Vec<_> = std::fs::read_dir(dir).unwrap().map(Result::unwrap).collect();
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => found.extend(files(&entry.path())),
            kind if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found
}

/// Longer files are cut.
const WHOLE: usize = 512 << 10;

/// The pieces of a file, as `src/transfer/packed` makes them.
fn pieces(content: Bytes) -> Vec<Bytes> {
    let mut cutter = Cutter::new(7);
    if content.len() <= WHOLE {
        return vec![content];
    }
    let mut pieces = cutter.push(content);
    pieces.extend(cutter.finish());
    pieces
}

/// What a first sync costs, but for the network, and what reading a file costs later.
#[derive(Default)]
struct Cost {
    level: i32,
    goal: usize,
    frame: Vec<u8>,
    pack: Vec<u8>,
    /// Which frame a piece is in.
    known: HashMap<Hash, usize>,
    lengths: Vec<usize>,
    compressing: Duration,
    /// Of it, for frames that became shorter by less than 3 %.
    in_vain: Duration,
}

impl Cost {
    fn push(&mut self, piece: &[u8]) -> usize {
        let hash = Hash::of(piece);
        if let Some(frame) = self.known.get(&hash) {
            return *frame;
        }
        if !self.frame.is_empty() && self.frame.len() + piece.len() > self.goal {
            self.end_frame();
        }
        self.frame.extend_from_slice(piece);
        self.known.insert(hash, self.lengths.len());
        self.lengths.len()
    }

    fn end_frame(&mut self) {
        let before = cpu();
        let packed = zstd::bulk::compress(&self.frame, self.level).unwrap();
        let took = cpu_since(before);
        self.compressing += took;
        if packed.len() * 100 > self.frame.len() * 97 {
            self.in_vain += took;
        }
        self.frame.clear();
        self.lengths.push(packed.len());
        self.pack.extend_from_slice(&packed);
        if self.pack.len() >= 16 * MIB {
            std::hint::black_box(Hash::of(&self.pack));
            self.pack.clear();
        }
    }
}

fn measure(tree: &Path, level: i32, goal: usize) {
    let before = cpu();
    let mut cost = Cost { level, goal, ..Cost::default() };
    let (mut bytes, mut frames) = (0, Vec::new());
    for path in files(tree) {
        let content = Bytes::from(std::fs::read(path).unwrap());
        bytes += content.len();
        let mut of_file: Vec<_> = pieces(content).iter().filter(|piece| !piece.is_empty()).map(|piece| cost.push(piece)).collect();
        of_file.dedup();
        frames.push(of_file);
    }
    cost.end_frame();
    let total = cpu_since(before);
    let stored: usize = cost.lengths.iter().sum();
    let fetched: usize = frames.iter().flatten().map(|frame| cost.lengths[*frame]).sum();
    println!(
        "{} level {level}, frames of {} KiB: {:.1} MB of {:.1} MB, CPU {:.2} s (compression {:.2} s, in vain {:.2} s), a file takes {:.1} KiB on average",
        tree.display(),
        goal >> 10,
        stored as f64 / 1e6,
        bytes as f64 / 1e6,
        total.as_secs_f64(),
        cost.compressing.as_secs_f64(),
        cost.in_vain.as_secs_f64(),
        fetched as f64 / frames.len() as f64 / 1024.0
    );
}

#[test]
#[ignore = "wants trees of integration/bench/trees.py, in OFFSITE_MEASURE"]
fn what_levels_and_frames_save() {
    for tree in std::env::var("OFFSITE_MEASURE").unwrap().split(':') {
        for level in [1, 3] {
            for goal in [128 << 10, 512 << 10] {
                measure(Path::new(tree), level, goal);
            }
        }
    }
}

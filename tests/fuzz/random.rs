//! Seeds, the time that is left, and random changes to bytes.

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

/// How long each part goes on where nobody says.
const SECONDS: u64 = 4;

/// `SplitMix64`: one seed, one case.
#[derive(Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `end`; 0 if that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// Runs cases until the time is over, or the one that the environment names. How many there were.
#[track_caller]
pub fn cases(what: &str, mut case: impl FnMut(&mut Random)) -> u64 {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let only = number("OFFSITE_FUZZ_SEED");
    let started = Instant::now();
    let budget = Duration::from_secs(number("OFFSITE_FUZZ_SECONDS").unwrap_or(SECONDS));
    // The same cases each time in `cargo test`; others each time where it is told how long.
    let mut seed = only.or(number("OFFSITE_FUZZ_FROM")).unwrap_or(1);
    let mut done = 0;
    while done == 0 || only.is_none() && started.elapsed() < budget {
        let result = catch_unwind(AssertUnwindSafe(|| case(&mut Random::new(seed))));
        if let Err(panic) = result {
            eprintln!("{what}: seed {seed}; OFFSITE_FUZZ_SEED={seed} runs it again");
            resume_unwind(panic);
        }
        seed = seed.wrapping_add(1);
        done += 1;
    }
    eprintln!("{what}: {done} cases in {:.1} s, {:?}", started.elapsed().as_secs_f64(), peak());
    done
}

/// What this process took at the most, in MiB.
pub fn peak() -> impl Debug {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:").map(str::trim)).unwrap_or("unknown").to_owned();
    format!("peak {line}")
}

/// Texts that have broken programs before.
const TELLING: &[&str] = &[
    "18446744073709551615",
    "18446744073709551616",
    "-1",
    "0",
    "1e400",
    "null",
    "[]",
    "{}",
    "\"\"",
    "\"../../x\"",
    "\"/etc/passwd\"",
    "\"a//b\"",
    "\".offsite/format.json\"",
    "\".offsite-pull/x\"",
    "\"a\\u0000b\"",
    "\"\\u001b[2J\"",
    "{\"b64\":\"/////w==\"}",
    "{\"b64\":\"!\"}",
    "true",
    "9223372036854775808",
];

/// Flips, cuts, extends, repeats, swaps, or puts a telling text in place of something.
pub fn mutate(random: &mut Random, bytes: &mut Vec<u8>) {
    let at = random.below(bytes.len());
    let end = (at + 1 + random.below(40)).min(bytes.len());
    match random.below(9) {
        0 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
        1 if !bytes.is_empty() => bytes[at] = random.next() as u8,
        2 => bytes.truncate(at),
        3 => bytes.extend((0..=random.below(200)).map(|_| random.next() as u8)),
        4 => drop(bytes.drain(at..end)),
        5 => {
            let part = bytes[at..end].to_vec();
            bytes.splice(at..at, part);
        }
        6 => {
            let other = random.below(bytes.len());
            if !bytes.is_empty() {
                bytes.swap(at, other);
            }
        }
        // A value of JSON for another.
        7 => {
            let from = at + bytes[at..].iter().position(|b| *b == b':').map_or(0, |i| i + 1);
            let to = from + bytes[from..].iter().position(|b| matches!(b, b',' | b'}' | b']')).unwrap_or(0);
            bytes.splice(from..to, random.pick(TELLING).bytes());
        }
        _ => {
            bytes.splice(at..at, random.pick(TELLING).bytes());
        }
    }
}

//! Mutated answers of servers: a reader says what an answer is, or that it is nothing, and never more than was sent.
//!
//! Runs for seconds in `cargo test`; `integration/fuzz` sets `OFFSITE_FUZZ_SECONDS`. A failure prints its seed, and
//! `OFFSITE_FUZZ_SEED` runs that one case again.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

/// `SplitMix64`.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end.max(1) as u64) as usize
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len());
        match self.below(5) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
            1 => bytes.truncate(at),
            2 => bytes.splice(at..at, [0xff; 4]).for_each(drop),
            3 => (0..self.below(60)).for_each(|_| bytes.insert(at, b'x')),
            _ => {
                let part = bytes[at..].to_vec();
                bytes.extend(part);
            }
        }
    }
}

/// Mutates one of the seeds again and again, and runs `case` on each mutation.
pub(crate) fn cases(what: &str, seeds: &[Vec<u8>], case: impl Fn(&[u8])) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let only = number("OFFSITE_FUZZ_SEED");
    let budget = Duration::from_secs(number("OFFSITE_FUZZ_SECONDS").unwrap_or(1));
    let (started, mut seed) = (Instant::now(), only.or(number("OFFSITE_FUZZ_FROM")).unwrap_or(1));
    let first = seed;
    while seed == first || only.is_none() && started.elapsed() < budget {
        let mut random = Random(seed);
        let mut bytes = seeds[random.below(seeds.len())].clone();
        (0..=random.below(4)).for_each(|_| random.mutate(&mut bytes));
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| case(&bytes))) {
            eprintln!("{what}: seed {seed}; OFFSITE_FUZZ_SEED={seed} runs it again");
            resume_unwind(panic);
        }
        seed += 1;
    }
    eprintln!("{what}: {} cases", seed - first);
}

//! Chance that can be had again: every test that uses it prints its seed, and `DUNLIN_SEED` sets it.

use std::{env, ops::Range, panic};

/// SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Clone)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number of this range.
    pub(crate) fn of(&mut self, range: Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }

    /// True in so many of a hundred cases.
    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.of(0..100) < percent
    }

    /// One of these.
    pub(crate) fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.of(0..of.len() as u64) as usize]
    }
}

/// Runs this with so many seeds, or with the one that `DUNLIN_SEED` names; a failure says which it was.
pub(crate) fn seeds(count: u64, test: impl Fn(Chance) + panic::RefUnwindSafe) {
    let named = env::var("DUNLIN_SEED").ok().map(|seed| seed.parse::<u64>().unwrap());
    for seed in named.map_or(0..count, |seed| seed..seed + 1) {
        if let Err(failed) = panic::catch_unwind(|| test(Chance(seed))) {
            eprintln!("DUNLIN_SEED={seed} has it again");
            panic::resume_unwind(failed);
        }
    }
}

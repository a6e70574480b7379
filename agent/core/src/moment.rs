//! Time as decisions see it: an argument, in milliseconds, from a clock that only goes forward.

use core::ops::Add;

/// A moment: milliseconds since the agent started. Unrelated to the time of day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

impl Add<u64> for Moment {
    type Output = Self;

    fn add(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

impl Moment {
    /// Milliseconds from an earlier moment to this one; 0 if it is not earlier.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Waiting times that double from one try to the next, with jitter so that a fleet does not come
/// back as one.
#[derive(Clone, Debug)]
pub struct Backoff {
    first_ms: u64,
    max_ms: u64,
    tries: u32,
    random: u64,
}

impl Backoff {
    /// From `first_ms` up to `max_ms`. The seed should differ from board to board.
    pub const fn new(first_ms: u64, max_ms: u64, seed: u64) -> Self {
        Self { first_ms, max_ms, tries: 0, random: seed }
    }

    /// How often it was waited since the last [`reset`](Self::reset).
    pub const fn tries(&self) -> u32 {
        self.tries
    }

    /// Milliseconds to wait before the next try: three quarters of the doubled time and up to a
    /// quarter more by chance.
    pub fn wait_ms(&mut self) -> u64 {
        let doubled = self.first_ms.checked_shl(self.tries.min(32)).unwrap_or(self.max_ms);
        let full = doubled.min(self.max_ms);
        self.tries = self.tries.saturating_add(1);
        let quarter = full / 4;
        full - quarter + self.next_random() % (quarter + 1)
    }

    /// All is well again: the next wait is a first one.
    pub const fn reset(&mut self) {
        self.tries = 0;
    }

    /// SplitMix64 (Steele, Lea, Flood 2014): spreads waits, guards nothing.
    const fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_within_their_jitter_and_stay_below_the_maximum() {
        let mut backoff = Backoff::new(250, 60_000, 7);
        for full in [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000] {
            let wait = backoff.wait_ms();
            assert!((full - full / 4..=full).contains(&wait), "{wait} of {full}");
        }
        for _ in 0..100 {
            assert!(backoff.wait_ms() <= 60_000);
        }
        backoff.reset();
        assert!(backoff.wait_ms() <= 250);
    }
}

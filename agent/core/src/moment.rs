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

/// So many at once, and so many a second after that.
#[derive(Clone, Debug)]
pub struct Bucket {
    at_once: u64,
    per_second: u64,
    /// What is left, in thousandths.
    left: u64,
    at: Moment,
}

impl Bucket {
    /// A full bucket.
    pub fn new(at_once: u32, per_second: u32, now: Moment) -> Self {
        let (at_once, per_second) = (u64::from(at_once), u64::from(per_second));
        Self { at_once, per_second, left: at_once * 1_000, at: now }
    }

    /// Takes one, if there is one.
    pub fn take(&mut self, now: Moment) -> bool {
        let fresh = now.since(self.at).saturating_mul(self.per_second);
        self.left = self.left.saturating_add(fresh).min(self.at_once * 1_000);
        self.at = self.at.max(now);
        let one = self.left >= 1_000;
        if one {
            self.left -= 1_000;
        }
        one
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_what_it_holds_and_then_what_flows_in() {
        let mut bucket = Bucket::new(3, 2, Moment(10));
        let taken = |bucket: &mut Bucket, now| (0..9).filter(|_| bucket.take(Moment(now))).count();
        assert_eq!(taken(&mut bucket, 10), 3);
        assert_eq!(taken(&mut bucket, 509), 0);
        assert_eq!(taken(&mut bucket, 510), 1);
        assert_eq!(taken(&mut bucket, 1_510), 2);
        assert_eq!(taken(&mut bucket, 3), 0, "a clock does not go back");
        assert_eq!(taken(&mut bucket, u64::MAX), 3, "no more than it holds");
    }

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

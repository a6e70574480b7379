//! What is wrong with some of the boards, by seed.

use std::fmt;

use crate::{Settings, chance::Chance};

/// What is wrong with a board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// Its line is cut, again and again.
    Lossy,
    /// Its line is slow.
    Slow,
    /// It loses power once in every deploy.
    Rebooting,
}

/// Streams of a seed below this are boards' own.
const FAULTS: u64 = 1 << 32;

impl Fault {
    /// That of this board.
    pub(crate) fn of(board: usize, settings: &Settings) -> Self {
        let Settings { lossy, slow, rebooting, seed, .. } = settings;
        let drawn = Chance::new(*seed, FAULTS + board as u64).among(0..100);
        let mut below = 0;
        for (share, fault) in [(lossy, Self::Lossy), (slow, Self::Slow), (rebooting, Self::Rebooting)] {
            below += u64::from(*share);
            if drawn < below {
                return fault;
            }
        }
        Self::None
    }
}

/// How many boards have which.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Faults {
    /// Boards whose lines are cut.
    pub lossy: usize,
    /// Boards whose lines are slow.
    pub slow: usize,
    /// Boards that lose power.
    pub rebooting: usize,
}

impl Faults {
    /// Those of so many boards.
    pub(crate) fn among(boards: usize, settings: &Settings) -> Self {
        let mut faults = Self::default();
        for board in 0..boards {
            match Fault::of(board, settings) {
                Fault::None => {}
                Fault::Lossy => faults.lossy += 1,
                Fault::Slow => faults.slow += 1,
                Fault::Rebooting => faults.rebooting += 1,
            }
        }
        faults
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lossy, slow, rebooting } = self;
        write!(f, "{lossy} with lines that are cut, {slow} with slow lines, {rebooting} that lose power in each deploy")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_are_about_what_was_asked_for() {
        let settings = Settings { lossy: 10, slow: 20, rebooting: 30, ..Settings::default() };
        let Faults { lossy, slow, rebooting } = Faults::among(10_000, &settings);
        for (found, wanted) in [(lossy, 1_000), (slow, 2_000), (rebooting, 3_000)] {
            assert!(found.abs_diff(wanted) < 200, "{found} of {wanted}");
        }
    }
}

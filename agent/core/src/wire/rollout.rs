//! Rollouts: an assignment that not all of its devices obey yet, and how the others are to follow.
//!
//! Devices choose themselves. Each of them has a place on a line, by a hash of its id, the app and the
//! release; a share is the line up to some point. So a plan is as small for ten thousand devices as for
//! three, a growing share never loses a device, and another release meets the devices in another order.

use alloc::vec::Vec;
use serde::{Deserialize, Deserializer, Serialize};

use super::{AppName, DeviceId, Digest, check_count};
use crate::{Refusal, limits, refusal::ensure};

/// The devices whose place on the line is no further than this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Share(pub u32);

impl Share {
    /// Every device.
    pub const ALL: Self = Self(u32::MAX);

    /// The smallest share in which a device is, for this release of this app.
    pub fn least(device: &DeviceId, app: &AppName, release: &Digest) -> Self {
        let (device, app) = (device.as_str().as_bytes(), app.as_str().as_bytes());
        // No name has a NUL in it.
        let Digest(hash) = Digest::of(&[b"dunlin/v1/share\0", device, b"\0", app, b"\0", &release.0].concat());
        let [a, b, c, d, ..] = hash;
        Self(u32::from_be_bytes([a, b, c, d]))
    }
}

/// How an assignment reaches its devices, in waves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// The share of each wave; each is larger than the one before it, and the last is all.
    pub waves: Vec<Share>,
    /// Which of them obey the assignment by now, counted from 0.
    pub wave: u32,
    /// How long a wave that is well has to stay so before the next one, in seconds.
    pub soak_seconds: u32,
    /// How long a device may say nothing of its success before it counts as failing, in seconds.
    pub patience_seconds: u32,
    /// Of ten thousand devices so many may fail; one more halts the rollout.
    pub halt_on: u32,
    /// Whether the operator holds it where it is.
    pub held: bool,
}

impl Rollout {
    /// The devices that obey the assignment by now.
    pub fn share(&self) -> Share {
        usize::try_from(self.wave).ok().and_then(|wave| self.waves.get(wave)).copied().unwrap_or(Share::ALL)
    }

    /// Whether no wave follows.
    pub fn is_last(&self) -> bool {
        self.share() == Share::ALL
    }

    /// With the next wave in force.
    pub fn next(&self) -> Self {
        Self { wave: self.wave + u32::from(!self.is_last()), held: false, ..self.clone() }
    }

    pub(super) fn check(&self) -> Result<(), Refusal> {
        check_count(self.waves.len(), limits::WAVES_MAX, "waves")?;
        ensure!(self.waves.is_sorted_by(|a, b| a < b), Malformed, "a wave that is not larger than the one before it");
        ensure!(self.waves.last() == Some(&Share::ALL), Malformed, "a rollout whose last wave is not every device");
        let (wave, count) = (self.wave, self.waves.len());
        ensure!((wave as usize) < count, Malformed, "wave {wave} of {count}, counted from 0");
        let halt_on = self.halt_on;
        ensure!(halt_on <= 10_000, Malformed, "{halt_on} failing devices of 10000");
        Ok(())
    }
}

/// Reads a list that stands at the end of a document, or is not there at all.
///
/// So documents without rollouts have the bytes that they had before there were any. What is neither
/// a list nor the end gives no list, and the document is not the one spelling of itself then.
pub(super) fn at_the_end<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Vec::deserialize(deserializer).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    fn least(device: usize, release: &[u8]) -> Share {
        let device = format!("pi-{device}").parse().unwrap();
        Share::least(&device, &"sensor".parse().unwrap(), &Digest::of(release))
    }

    #[test]
    fn devices_are_spread_evenly_and_anew_by_each_release() {
        let tenth = Share(u32::MAX / 10);
        let within = |release: &[u8]| (0..10_000).filter(|d| least(*d, release) <= tenth).collect::<Vec<_>>();
        let (one, two) = (within(b"1"), within(b"2"));
        // Four standard deviations of 10,000 devices at a tenth are 120.
        assert!((880..1_120).contains(&one.len()), "{}", one.len());
        let both = one.iter().filter(|device| two.contains(device)).count();
        assert!((60..140).contains(&both), "a hundredth by chance: {both}");
    }

    #[test]
    fn a_place_on_the_line_never_moves() {
        // Boards of every version must agree on it.
        assert_eq!(
            [least(1, b"1"), least(2, b"1"), least(1, b"2")],
            [Share(4_155_470_836), Share(408_235_043), Share(2_405_888_300)]
        );
    }
}

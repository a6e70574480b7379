//! What crosses the doors: names, topics, the signed documents, and what devices report.
//!
//! Devices obey signed [postcard](https://postcard.jamesmunns.com/wire-format) documents; what they
//! say is JSON. This module knows the forms and their bounds, never whether something is trusted.

pub mod bitmap;
pub mod digest;
pub mod name;
pub mod topic;

pub mod bundle;
pub mod envelope;
pub mod plan;
pub mod release;
pub mod rollout;
pub mod root;
pub mod sealed;

pub mod state;

use alloc::{format, vec::Vec};
use core::fmt::Display;
use serde::{Deserialize, Serialize};

pub use bitmap::Bitmap;
pub use digest::{Digest, PublicKey, SealingKey};
pub use envelope::{Envelope, Kind, Signature};
pub use name::{AppName, DeviceId, EnvName, FleetName, LabelKey, LabelValue, MountName, Reach, TopicName, Version};
pub use plan::{Assignment, Plan, Publish, ReleaseRef, Selector, Term};
pub use release::{Asks, Health, Instances, Listen, Module, Mount, Probe, Protocol, Release, Restart, Start, World};
pub use rollout::{Rollout, Share};
pub use root::{Floor, ReleaseRole, Role, Root};
pub use sealed::Sealed;
pub use topic::{Topic, Topics};

use crate::{Code, Refusal, limits, refusal::ensure};

/// Seconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

/// One of the three signed documents.
pub trait Document: Serialize + for<'a> Deserialize<'a> {
    /// Which one.
    const KIND: Kind;

    /// Whether every value is within its bounds: what types and encoding cannot say.
    fn check(&self) -> Result<(), Refusal>;
}

/// The bytes that a signature covers and a digest names.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    // Into a Vec, postcard fails only for values of unknown length, which our documents don't have.
    postcard::to_allocvec(value).unwrap_or_default()
}

/// The value that these bytes are the one canonical encoding of.
///
/// Postcard's numbers have longer spellings and its decoder passes over trailing bytes; since
/// digests name documents, a document has one spelling here.
pub(crate) fn decode<T>(bytes: &[u8], what: impl Display) -> Result<T, Refusal>
where
    T: Serialize + for<'a> Deserialize<'a>,
{
    let malformed = || Refusal::new(Code::Malformed, format!("this is not a whole {what}"));
    let value = postcard::from_bytes::<T>(bytes).map_err(|_| malformed())?;
    if encode(&value) == bytes { Ok(value) } else { Err(malformed()) }
}

/// A record that a device keeps for itself: its digest, and its encoding. It is not signed, but a bit
/// that flips on the disk shows.
pub fn seal<T: Serialize>(value: &T) -> Vec<u8> {
    let bytes = encode(value);
    [&Digest::of(&bytes).0[..], &bytes].concat()
}

/// The record that a device sealed.
pub(crate) fn unseal<T>(bytes: &[u8], what: impl Display) -> Result<T, Refusal>
where
    T: Serialize + for<'a> Deserialize<'a>,
{
    let whole = bytes.split_first_chunk().filter(|(digest, bytes)| Digest::of(bytes).0 == **digest);
    let Some((_, bytes)) = whole else {
        return Err(Refusal::new(Code::Malformed, format!("this is not a whole {what}")));
    };
    decode(bytes, what)
}

fn check_count(len: usize, max: usize, what: &str) -> Result<(), Refusal> {
    ensure!(len <= max, Malformed, "{len} {what}, more than the {max} allowed");
    Ok(())
}

/// A list has a key once: where it stood twice, each reader would choose one for itself.
fn check_unique<T: PartialEq>(keys: impl Iterator<Item = T> + Clone, what: &str) -> Result<(), Refusal> {
    let repeated = keys.clone().enumerate().any(|(i, key)| keys.clone().take(i).any(|earlier| earlier == key));
    ensure!(!repeated, Malformed, "{what} is there twice");
    Ok(())
}

fn check_text(text: &str, what: &str) -> Result<(), Refusal> {
    let max = limits::TEXT_BYTES_MAX;
    ensure!(text.len() <= max, Malformed, "{what} of {} bytes, more than the {max} allowed", text.len());
    ensure!(!text.contains('\0'), Malformed, "{what} with a NUL in it");
    Ok(())
}

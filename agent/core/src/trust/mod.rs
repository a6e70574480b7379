//! Turns bytes into [`Verified`] documents, or into a refusal. There is no other way to get one.
//!
//! Each check stands under the clause of the design that it holds. The order is fixed: length,
//! form, signatures, and only then what the body says. Nothing here writes: the caller persists
//! what was accepted before it acts on it.

mod signatures;

mod chain;
mod plan;
mod release;
mod root;

use alloc::{sync::Arc, vec::Vec};
use core::ops::Deref;

pub use chain::Chain;
pub use plan::{Accepted, PlanMark, accept_plan, check_fresh, stored_plan};
pub(crate) use release::fits_order;
pub use release::{check_chunk, check_module, may_widen, stands, verify_release};
pub use root::{first_root, next_root};

use crate::wire::{Digest, Envelope, Timestamp};

/// A document that passed every check, with the bytes that prove it. Cheap to clone: it never changes, so all share one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified<T>(Arc<Signed<T>>);

#[derive(Debug, PartialEq, Eq)]
struct Signed<T> {
    document: T,
    envelope: Envelope,
    digest: Digest,
}

impl<T> Verified<T> {
    /// For who has checked all of it.
    fn new(document: T, envelope: Envelope) -> Self {
        let digest = envelope.digest();
        Self(Arc::new(Signed { document, envelope, digest }))
    }

    /// The digest of the document's body.
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// The envelope as it is stored and published.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.envelope().encode()
    }

    fn envelope(&self) -> &Envelope {
        &self.0.envelope
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.document
    }
}

/// The time to hold documents against: the board's own clock, or the latest moment that a
/// trustworthy witness (the build, the last time persisted, a verified document) saw, if that is later.
///
/// *Clock: a board without a clock takes max(build time, last persisted time, time in what is verified).*
pub fn now(clock: Timestamp, witnesses: impl IntoIterator<Item = Timestamp>) -> Timestamp {
    witnesses.into_iter().fold(clock, Ord::max)
}

//! The roots that a board has walked through, from the one it was given to the one in force.

use alloc::{vec, vec::Vec};

use super::{Verified, next_root, stands, stored_plan, verify_release};
use crate::{
    Refusal,
    wire::{AppName, Plan, Release, ReleaseRef, Root},
};

/// Roots, each the successor of the one before it.
#[derive(Clone, Debug)]
pub struct Chain {
    given: Verified<Root>,
    later: Vec<Verified<Root>>,
}

impl Chain {
    /// Begins with the root that the board was given by hand.
    pub fn new(given: Verified<Root>) -> Self {
        Self { given, later: vec![] }
    }

    /// The root in force.
    pub fn current(&self) -> &Verified<Root> {
        self.later.last().unwrap_or(&self.given)
    }

    /// The version of the only root that can follow.
    pub fn next_version(&self) -> u64 {
        self.current().version.saturating_add(1)
    }

    /// The successor of the root in force. Persist it, then [`adopt`](Self::adopt) it.
    pub fn verify_next(&self, bytes: &[u8]) -> Result<Verified<Root>, Refusal> {
        next_root(self.current(), bytes)
    }

    /// Puts a root in force that [`verify_next`](Self::verify_next) of this chain let through.
    pub fn adopt(&mut self, root: Verified<Root>) {
        debug_assert_eq!(root.version, self.next_version(), "only the direct successor follows");
        self.later.push(root);
    }

    /// The plan that this device accepted earlier and stored, maybe under an earlier root.
    ///
    /// *What runs keeps running*: a rotation of the deploy keys takes nothing away before there is
    /// a plan by the new ones.
    pub fn stored_plan(&self, bytes: &[u8]) -> Result<Verified<Plan>, Refusal> {
        self.latest(|root| stored_plan(root, bytes))
    }

    /// The release that ran here last, maybe signed by keys that were replaced since.
    ///
    /// *What runs keeps running*, over a restart too, unless the root in force bans it.
    pub fn stored_release(
        &self,
        app: &AppName,
        order: &ReleaseRef,
        bytes: &[u8],
    ) -> Result<Verified<Release>, Refusal> {
        let release = self.latest(|root| verify_release(root, app, order, bytes))?;
        stands(self.current(), &release)?;
        Ok(release)
    }

    /// What the latest root says that does not refuse; if all do, what the one in force says.
    fn latest<T>(&self, verify: impl Fn(&Verified<Root>) -> Result<T, Refusal>) -> Result<T, Refusal> {
        let earlier = || self.later.iter().rev().skip(1).chain([&self.given]);
        verify(self.current()).or_else(|refusal| earlier().find_map(|root| verify(root).ok()).ok_or(refusal))
    }
}

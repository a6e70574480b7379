//! Plans: for this fleet, by the deploy keys, never older than the last.

use serde::{Deserialize, Serialize};

use super::{Verified, signatures};
use crate::{
    Refusal,
    refusal::ensure,
    wire::{Digest, Envelope, Kind, Plan, Root, Timestamp},
};

/// Which plan was accepted last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanMark {
    /// Its sequence.
    pub sequence: u64,
    /// Its digest.
    pub digest: Digest,
}

/// What came of a plan that is not refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// A newer plan: persist it, then obey it.
    New(Verified<Plan>),
    /// The plan in force, once more, as brokers send it at every connection.
    Same,
}

impl Verified<Plan> {
    /// What to remember of this plan.
    pub fn mark(&self) -> PlanMark {
        PlanMark { sequence: self.sequence, digest: self.digest() }
    }

    /// The mark below which no plan is accepted under this root: none if the plan in force is not
    /// by its deploy keys any more.
    ///
    /// So a root that changes the deploy keys frees a fleet from a stolen one that signed the
    /// highest sequence there is. Older plans can't come back by this: they are not by the new keys.
    pub fn mark_under(&self, root: &Root) -> Option<PlanMark> {
        signatures::check(self.envelope(), &root.deploy).is_ok().then(|| self.mark())
    }
}

/// Holds a plan that was received against all rules, at this time.
pub fn accept_plan(
    root: &Verified<Root>,
    last: Option<&PlanMark>,
    bytes: &[u8],
    now: Timestamp,
) -> Result<Accepted, Refusal> {
    let plan = stored_plan(root, bytes)?;
    // No going back: a plan's sequence never falls, and one sequence has one plan.
    if let Some(last) = last {
        let (sequence, ours) = (plan.sequence, last.sequence);
        ensure!(sequence >= ours, OldPlan, "plan {sequence}, but plan {ours} was accepted already");
        if sequence == ours {
            let same = plan.digest() == last.digest;
            ensure!(same, Fork, "another plan {sequence} than the one that was accepted: somebody signed two");
            return Ok(Accepted::Same);
        }
    }
    // Clock: time in what is verified counts. So a plan from the future cannot be accepted and then
    // hold back every plan after it: a stolen deploy key moves a board's time no further than its root.
    let now = now.max(plan.issued);
    // Freeze: an expired root blocks new plans.
    let expired = root.expires < now;
    ensure!(!expired, RootExpired, "plan {}, but root {} has expired", plan.sequence, root.version);
    // Freeze: past its not-after, a plan is not accepted any more.
    let late = plan.not_after < now;
    ensure!(!late, PlanExpired, "plan {}, which was to be accepted until {}", plan.sequence, plan.not_after.0);
    Ok(Accepted::New(plan))
}

/// Whether a plan that was accepted in time has gone stale since.
///
/// *Freeze: past a plan's not-after, nothing new is accepted until a newer one comes, an alarm is
/// reported, and what runs keeps running.*
pub fn check_fresh(plan: &Verified<Plan>, now: Timestamp) -> Result<(), Refusal> {
    let Plan { sequence, not_after, .. } = **plan;
    let fresh = now <= not_after;
    ensure!(
        fresh,
        PlanExpired,
        "plan {sequence} was good until {}: nothing new is fetched before a newer one",
        not_after.0
    );
    Ok(())
}

/// The plan that this device accepted earlier and stored: who signed it and for whom, not when.
///
/// *What runs keeps running*: time passing takes nothing away.
pub fn stored_plan(root: &Verified<Root>, bytes: &[u8]) -> Result<Verified<Plan>, Refusal> {
    let envelope = Envelope::decode(bytes, Kind::Plan)?;
    signatures::check(&envelope, &root.deploy)?;
    let document: Plan = envelope.body()?;
    // Audience: root, release and plan name the fleet or the app.
    let (fleet, ours) = (&document.fleet, &root.fleet);
    ensure!(fleet == ours, WrongFleet, "a plan for the fleet {fleet}, but this is {ours}");
    Ok(Verified::new(document, envelope))
}

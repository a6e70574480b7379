//! Which plan goes on under a new root.

use anyhow::{Result, bail};
use dunlin_core::{
    trust::{self, Verified},
    wire::{Plan, Root},
};

use crate::{fleet::Fleet, plans, session::Session};

/// Which plan is meant where the broker's and the folder's differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Source {
    /// The one that the broker has.
    Broker,
    /// The one that this folder has.
    Folder,
}

/// The plan that goes on under this successor of the root in force.
pub(super) async fn before_root(
    fleet: &Fleet,
    session: &mut Session,
    next: &Root,
    source: Option<Source>,
) -> Result<Option<Verified<Plan>>> {
    let theirs = plans::theirs(fleet, session, |bytes| trust::stored_plan(fleet.root(), bytes)).await?;
    decide(fleet, next, theirs, source)
}

/// The plan that goes on under the root in force, when that has just been taken from elsewhere.
pub(super) async fn after_root(
    fleet: &Fleet,
    session: &mut Session,
    source: Option<Source>,
) -> Result<Option<Verified<Plan>>> {
    let theirs = plans::theirs(fleet, session, |bytes| fleet.roots.chain().stored_plan(bytes)).await?;
    decide(fleet, fleet.root(), theirs, source)
}

/// Where the deploy keys change, the plan is signed again: so it must be the operator's own. The
/// broker may have one by whoever stole the old key.
fn decide(
    fleet: &Fleet,
    root: &Root,
    theirs: Option<Verified<Plan>>,
    source: Option<Source>,
) -> Result<Option<Verified<Plan>>> {
    let ours = plans::local(fleet)?;
    let Some(theirs) = theirs else { return Ok(ours) };
    let unlike = ours.as_ref().is_none_or(|ours| ours.digest() != theirs.digest() && ours.sequence <= theirs.sequence);
    if !unlike || theirs.mark_under(root).is_some() {
        return plans::newer(fleet, Some(theirs), ours);
    }
    if ours.as_ref().is_some_and(|ours| ours.mark_under(root).is_some()) {
        // It was signed again already; whatever else the old keys sign counts no more.
        return Ok(ours);
    }
    match source {
        Some(Source::Folder) => Ok(ours),
        Some(Source::Broker) => {
            plans::keep(fleet, &theirs)?;
            Ok(Some(theirs))
        }
        None => bail!(
            "the deploy keys change, so the plan has to be signed again, and the broker has plan {} where this \
             folder has {}. Was the broker's made by one of you? Then say --plan broker; else --plan folder, and the \
             broker's is outlived",
            theirs.sequence,
            ours.map_or_else(|| "none".into(), |ours| format!("plan {}", ours.sequence))
        ),
    }
}

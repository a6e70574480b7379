//! How far a device is with what a plan orders, by what it says of itself.

use alloc::{format, string::String};

use crate::{
    limits,
    wire::{
        Assignment, Plan,
        state::{AppState, DeviceState, Phase},
    },
};

/// How far a device is with an assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It runs the release; or it ran it to its end, which is what it says.
    Done(Option<String>),
    /// It is on its way, and where.
    Waiting(String),
    /// It will not run it, and why.
    Failed(String),
}

/// The verdict on a device that is to obey this assignment of this plan, or of a later one.
pub fn verdict(state: Option<&DeviceState>, plan: &Plan, assignment: &Assignment) -> Verdict {
    let Some(state) = state else { return Verdict::Waiting("has not said anything yet".into()) };
    let sequence = state.plan.as_ref().map_or(0, |plan| plan.sequence);
    if sequence < plan.sequence {
        return match &state.refused {
            Some(refused) if refused.at >= plan.issued => {
                Verdict::Failed(format!("{} [{}]", refused.why, refused.code))
            }
            _ => Verdict::Waiting(format!("has plan {sequence}")),
        };
    }
    let Some((phase, why, failures)) = state.apps.iter().find_map(|app| of_release(app, assignment)) else {
        return Verdict::Waiting(format!("has plan {sequence}"));
    };
    let why = why.unwrap_or("it does not say why");
    match phase {
        Phase::Running | Phase::Asleep => Verdict::Done(None),
        Phase::Finished => Verdict::Done(Some(why.into())),
        Phase::Refused => Verdict::Failed(format!("refuses it: {why}")),
        Phase::Reverted => Verdict::Failed(format!("went back to what ran before: {why}")),
        Phase::BackingOff if failures >= limits::FAILURES_MAX => {
            Verdict::Failed(format!("ended {failures} times: {why}"))
        }
        Phase::BackingOff | Phase::Fetching | Phase::Starting | Phase::Trial | Phase::Paused => {
            Verdict::Waiting(phase.as_str().into())
        }
    }
}

/// Where an app is with the release that it is to have: as what it is, or as what is to replace it.
fn of_release<'a>(app: &'a AppState, assignment: &Assignment) -> Option<(Phase, Option<&'a str>, u32)> {
    let order = assignment.release.digest;
    if app.app != assignment.app {
        return None;
    }
    // Another setup of the same release is its own successor.
    if let Some(next) = app.next.as_ref().filter(|next| next.release == order) {
        return Some((next.phase, next.why.as_deref(), 0));
    }
    (app.release == order).then_some((app.phase, app.why.as_deref(), app.failures))
}

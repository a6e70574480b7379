//! `deploy --wait`: follows what devices say until all that were meant run the release, or cannot.

use std::{fmt::Write as _, time::Duration};

use anyhow::{Result, bail};
use dunlin_core::{
    verdict::{Verdict, verdict},
    wire::{Assignment, DeviceId, Plan},
};
use tokio::time::Instant;

use crate::{
    devices::{Devices, Seen},
    fleet::Fleet,
    progress::Progress,
    say, selector,
    session::Session,
};

/// How long all must run before it counts: an app that traps at once is running for a moment, each time.
const STEADY: Duration = Duration::from_secs(1);

/// How many devices an error names.
const NAMED_MAX: usize = 10;

/// Waits until every connected device that this assignment of the plan is for runs the release.
///
/// These devices were gathered before the plan was published, and the session follows them since.
pub(crate) async fn until_running(
    fleet: &Fleet,
    session: &mut Session,
    plan: &Plan,
    assignment: &Assignment,
    patience: Duration,
    mut devices: Devices,
) -> Result<()> {
    let deadline = Instant::now() + patience;
    let progress = Progress::counting(format!("waiting for plan {}", plan.sequence), 0);
    let mut watch = Watch::default();
    loop {
        let verdicts = watch.look(verdicts(&devices, plan, assignment), Instant::now());
        let done = verdicts.iter().filter(|(_, verdict)| matches!(verdict, Verdict::Done(_))).count();
        progress.set(done, verdicts.len());
        let settled = watch.settled_at();
        if settled.is_some_and(|at| Instant::now() >= at) {
            drop(progress);
            return conclude(assignment, &verdicts, None);
        }
        let waits = verdicts.iter().find(|(_, verdict)| matches!(verdict, Verdict::Waiting(_)));
        match (session.away(), waits) {
            (Some(away), _) => progress.say(format!("the broker is away: {away}")),
            (None, Some((device, Verdict::Waiting(what)))) => progress.say(format!("{device}: {what}")),
            (None, _) if verdicts.is_empty() => progress.say("no device that it is for is online"),
            (None, _) => progress.say("looking whether it stays so"),
        }
        match session.message(settled.unwrap_or(deadline).min(deadline)).await? {
            Some((topic, payload)) => {
                devices.take(&fleet.topics, &topic, &payload);
            }
            None if Instant::now() >= deadline => {
                drop(progress);
                return conclude(assignment, &verdicts, Some(patience));
            }
            None => {}
        }
    }
}

/// The verdicts over time. A failure stays one; running counts once it has lasted.
#[derive(Debug, Default)]
struct Watch {
    last: Vec<(DeviceId, Verdict)>,
    since: Option<Instant>,
}

impl Watch {
    /// Looks at the verdicts of now; answers with those that count.
    fn look(&mut self, now_is: Vec<(DeviceId, Verdict)>, now: Instant) -> Vec<(DeviceId, Verdict)> {
        let failed = |device: &DeviceId| {
            let was = self.last.iter().find(|(d, _)| d == device).map(|(_, verdict)| verdict.clone());
            was.filter(|verdict| matches!(verdict, Verdict::Failed(_)))
        };
        let counts: Vec<_> =
            now_is.into_iter().map(|(d, verdict)| (d.clone(), failed(&d).unwrap_or(verdict))).collect();
        if self.since.is_none() || counts != self.last {
            self.since = Some(now);
            self.last.clone_from(&counts);
        }
        counts
    }

    /// When it is over, if nothing changes until then: at once if all have failed, and otherwise
    /// when those that run have run for a while. Not at all while one is on its way, or nobody is there.
    fn settled_at(&self) -> Option<Instant> {
        let any = |is: fn(&Verdict) -> bool| self.last.iter().any(|(_, verdict)| is(verdict));
        let over = !self.last.is_empty() && !any(|verdict| matches!(verdict, Verdict::Waiting(_)));
        let steady = if any(|verdict| matches!(verdict, Verdict::Done(_))) { STEADY } else { Duration::ZERO };
        self.since.filter(|_| over).map(|since| since + steady)
    }
}

/// The verdict on each connected device that this assignment is for.
fn verdicts(devices: &Devices, plan: &Plan, assignment: &Assignment) -> Vec<(DeviceId, Verdict)> {
    let one = |(device, seen): (&DeviceId, &Seen)| {
        let state = seen.state.as_ref();
        let labels = state.map(|state| state.labels.clone()).unwrap_or_default();
        let mine = plan.for_device(device, &labels);
        let meant = mine.iter().any(|a| a.app == assignment.app && a.to == assignment.to);
        (seen.online && meant).then(|| (device.clone(), verdict(state, plan, assignment)))
    };
    devices.0.iter().filter_map(one).collect()
}

fn conclude(assignment: &Assignment, verdicts: &[(DeviceId, Verdict)], waited: Option<Duration>) -> Result<()> {
    let (app, to) = (&assignment.app, selector::show(&assignment.to));
    for (device, verdict) in verdicts {
        if let Verdict::Done(Some(why)) = verdict {
            say::note(format_args!("{device}: {app} has finished: {}", say::clean(why)));
        }
    }
    let mut missing = Vec::new();
    for (device, verdict) in verdicts {
        match verdict {
            Verdict::Done(_) => {}
            Verdict::Waiting(what) | Verdict::Failed(what) => missing.push((device, what)),
        }
    }
    let waited = waited.map(|span| format!(" within {} s", span.as_secs_f64())).unwrap_or_default();
    if verdicts.is_empty() {
        bail!("no device of {to} was online{waited}: the plan waits for them at the broker");
    }
    if missing.is_empty() {
        let count = verdicts.len();
        let devices = if count == 1 { "1 device runs".into() } else { format!("{count} devices run") };
        say::result(format_args!("{devices} {app}"))?;
        return Ok(());
    }
    let mut text = format!("{app} does not run on {} of {} devices{waited}:", missing.len(), verdicts.len());
    for (device, what) in missing.iter().take(NAMED_MAX) {
        // Into a String it cannot fail.
        let _ = write!(text, "\n  {device}: {}", say::clean(what));
    }
    if missing.len() > NAMED_MAX {
        let _ = write!(text, "\n  and {} more: see `dunlinctl status`", missing.len() - NAMED_MAX);
    }
    bail!(text)
}

#[cfg(test)]
#[path = "wait_tests.rs"]
mod tests;

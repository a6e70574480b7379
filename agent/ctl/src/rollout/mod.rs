//! Rollouts in waves: what is signed tells which devices have heard of a release, and whoever has the
//! deploy key goes on from there.
//!
//! Nothing of a rollout is kept here: waves, soak, threshold and how far it is stand in the plan.

mod drive;
mod preview;
mod view;
mod waves;

use std::time::Duration;

use anyhow::{Result, bail};
use dunlin_core::{
    rollout::Waves,
    trust::Verified,
    wire::{AppName, Assignment, Plan, Rollout},
};
use serde::Serialize;

pub(crate) use drive::drive;
pub(crate) use preview::preview;
pub(crate) use waves::{check, resolve};

use crate::{
    WrongUse,
    assignments::{self, Entry},
    cli::{ContinueArgs, Global, HoldArgs, RolloutCommand},
    devices::Devices,
    fleet::Fleet,
    plans::{self, How},
    say, selector,
    session::Session,
};
use drive::Rolling;

/// Does what a `rollout` command says.
pub(crate) async fn run(command: &RolloutCommand, global: &Global) -> Result<()> {
    let fleet = Fleet::find(global.fleet.as_deref())?;
    let mut session = Session::open(&fleet, global.timeout.0).await?;
    match command {
        RolloutCommand::Show { json } => show(&fleet, &mut session, *json).await?,
        RolloutCommand::Continue(args) => go_on(&fleet, &mut session, args).await?,
        RolloutCommand::Hold(args) => hold(&fleet, &mut session, args).await?,
    }
    session.close().await;
    Ok(())
}

/// A rollout's own name: the assignment that it is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target(pub(crate) Assignment);

impl Target {
    /// Whether this is it, whatever else was changed about it.
    fn is(&self, assignment: &Assignment) -> bool {
        let Self(Assignment { app, to, release, .. }) = self;
        assignments::is(assignment, app, Some(to)) && assignment.release == *release
    }

    /// It in these entries, with how far it is.
    fn find(&self, entries: &[Entry]) -> Option<(Assignment, Rollout)> {
        let found = entries.iter().find(|entry| self.is(&entry.assignment));
        found.and_then(|entry| entry.rollout.clone().map(|rollout| (entry.assignment.clone(), rollout)))
    }
}

/// The one rollout that is meant.
fn the_one(plan: Option<&Verified<Plan>>, app: &AppName, to: &[String]) -> Result<(Target, Rollout)> {
    let to = selector::parse(to).map_err(|e| WrongUse(format!("{e:#}")))?;
    let to = (!to.0.is_empty()).then_some(to);
    let entries = assignments::entries(plan.map(|plan| &**plan));
    let mine = |entry: &Entry| Some((Target(entry.assignment.clone()), entry.rollout.clone()?));
    let of_app = entries.iter().filter(|entry| assignments::is(&entry.assignment, app, to.as_ref()));
    let mut found: Vec<_> = of_app.filter_map(mine).collect();
    match (found.pop(), found.is_empty()) {
        (Some(one), true) => Ok(one),
        (None, _) => bail!("the plan has no rollout of {app}: `dunlinctl rollout show` shows what there is"),
        (Some(_), false) => bail!("{app} is rolled out to more than one --to: say which"),
    }
}

async fn go_on(fleet: &Fleet, session: &mut Session, args: &ContinueArgs) -> Result<()> {
    let HoldArgs { app, to, expires } = &args.which;
    let how = How { expires: expires.0, dry_run: false };
    let devices = Devices::gather(fleet, session).await?;
    let last = plans::latest(fleet, session).await?;
    let (target, rollout) = the_one(last.as_ref(), app, to)?;
    let new = waves::with_pace(Rollout { held: false, ..rollout.clone() }, &args.pace);
    let plan = match last {
        // Nothing of it changes, so there is nothing to sign yet.
        Some(last) if new == rollout => {
            plans::keep(fleet, &last)?;
            last
        }
        last => {
            let _lock = fleet.lock()?;
            plans::succeed_to(fleet, session, how, last, |last| change(last, &target, |_| Ok(new.clone()))).await?
        }
    };
    drive(fleet, session, how, plan, target, devices).await
}

async fn hold(fleet: &Fleet, session: &mut Session, args: &HoldArgs) -> Result<()> {
    let how = How { expires: args.expires.0, dry_run: false };
    let edit = |last: Option<&Verified<Plan>>| {
        let (target, _) = the_one(last, &args.app, &args.to)?;
        change(last, &target, |rollout| Ok(Rollout { held: true, ..rollout }))
    };
    let plan = plans::succeed(fleet, session, how, edit).await?;
    let (sequence, app) = (plan.sequence, &args.app);
    say::result(format_args!(
        "plan {sequence} holds the rollout of {app}: `dunlinctl rollout continue {app}` goes on"
    ))?;
    Ok(())
}

/// The entries of a plan with another point of a rollout in it.
fn change(
    plan: Option<&Verified<Plan>>,
    target: &Target,
    with: impl FnOnce(Rollout) -> Result<Rollout>,
) -> Result<Vec<Entry>> {
    let mut entries = assignments::entries(plan.map(|plan| &**plan));
    let found = entries.iter_mut().find(|entry| target.is(&entry.assignment));
    let Some(rollout) = found.and_then(|entry| entry.rollout.as_mut()) else { bail!(gone(plan, target)) };
    *rollout = with(rollout.clone())?;
    Ok(entries)
}

/// Why a rollout cannot go on that is not in the plan any more.
fn gone(plan: Option<&Verified<Plan>>, target: &Target) -> String {
    let (sequence, app) = (plan.map_or(0, |plan| plan.sequence), &target.0.app);
    format!("the plan changed: plan {sequence} has no rollout of this release of {app} any more")
}

/// What `rollout show --json` prints of each.
#[derive(Serialize)]
struct Shown {
    app: AppName,
    /// As it was said; none mean every device.
    to: Vec<String>,
    release: dunlin_core::wire::Digest,
    /// Counted from 1.
    wave: u32,
    waves: usize,
    soak_seconds: u32,
    patience_seconds: u32,
    halt_on_percent: f64,
    held: bool,
    /// Devices of the wave that count, run it, and fail.
    devices: usize,
    well: usize,
    failing: usize,
    why: Vec<String>,
}

async fn show(fleet: &Fleet, session: &mut Session, json: bool) -> Result<()> {
    let devices = Devices::gather(fleet, session).await?;
    let last = plans::latest(fleet, session).await?;
    let mut shown = Vec::new();
    for Entry { assignment, rollout } in assignments::entries(last.as_deref()) {
        let (Some(plan), Some(rollout)) = (&last, rollout) else { continue };
        let waves = Rolling::new(plan.clone(), Target(assignment.clone()), rollout, devices.clone()).into_waves();
        shown.push(shown_of(assignment, &waves));
    }
    if json {
        return say::json(&shown);
    }
    if shown.is_empty() {
        say::note("nothing is being rolled out");
    }
    for one in shown {
        let Shown { app, to, wave, waves, devices, well, failing, .. } = &one;
        let held = if one.held { ", held" } else { "" };
        let release = version(fleet, app, &one.release)?;
        say::result(format_args!(
            "{app} {release} on {}: wave {wave} of {waves}{held}, {well} of {devices} devices well, {failing} failing; \
             soak {}, halts above {}%",
            if to.is_empty() { "every device".into() } else { to.join(",") },
            span(one.soak_seconds),
            one.halt_on_percent
        ))?;
        for why in &one.why {
            say::result(format_args!("  {}", say::clean(why)))?;
        }
    }
    Ok(())
}

fn shown_of(assignment: Assignment, waves: &Waves) -> Shown {
    let (rollout, count) = (waves.rollout(), waves.count());
    Shown {
        app: assignment.app,
        to: selector::terms(&assignment.to),
        release: assignment.release.digest,
        wave: rollout.wave + 1,
        waves: rollout.waves.len(),
        soak_seconds: rollout.soak_seconds,
        patience_seconds: rollout.patience_seconds,
        halt_on_percent: f64::from(rollout.halt_on) / 100.0,
        held: rollout.held,
        devices: count.counted,
        well: count.well,
        failing: count.failing,
        why: waves.failing().map(|(device, why)| format!("{device} {why}")).collect(),
    }
}

/// A release's version, if it was made here; else its digest's first digits.
pub(crate) fn version(fleet: &Fleet, app: &AppName, release: &dunlin_core::wire::Digest) -> Result<String> {
    let records = fleet.records(app)?;
    let record = records.iter().find(|record| record.order().digest == *release);
    Ok(record.map_or_else(|| release.short(), |record| record.release.version.to_string()))
}

/// A time in the largest unit that it is whole in.
fn span(seconds: u32) -> String {
    match Duration::from_secs(seconds.into()).as_secs() {
        s if s > 0 && s % 3_600 == 0 => format!("{}h", s / 3_600),
        s if s > 0 && s % 60 == 0 => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}

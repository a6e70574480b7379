//! `deploy`: orders a release onto devices.

use anyhow::{Context, Result};
use dunlin_core::{
    trust::Verified,
    wire::{Assignment, Plan, Rollout},
};

use crate::{
    agent,
    assignments::{self, Entry},
    cli::{DeployArgs, Global},
    devices::Devices,
    fleet::Fleet,
    plans::{self, How},
    records::Record,
    rollout::{self, Target},
    say, secrets, selector,
    session::Session,
    time, wait,
};

/// Deploys an app.
pub(crate) async fn run(args: &DeployArgs, global: &Global) -> Result<()> {
    let to = selector::parse(&args.to).map_err(|e| crate::WrongUse(format!("{e:#}")))?;
    rollout::check(&args.waves)?;
    let fleet = Fleet::find(global.fleet.as_deref())?;
    let record = plans::choose(&fleet, &args.app.app, args.app.version.as_ref())?;
    let to = agent::narrowed(to, &record.release.app)?;
    let secrets = secrets::seal(&fleet, &record.release.app, &to, &args.secret)?;
    let assignment = Assignment {
        app: record.release.app.clone(),
        to,
        release: record.order(),
        paused: false,
        env: args.env.clone(),
        secrets,
        args: (!args.args.is_empty()).then(|| args.args.clone()),
        publish: (!args.publish.is_empty()).then(|| args.publish.clone()),
    };
    let how = How { expires: args.expires.0, dry_run: args.dry_run };
    // What is wrong with it is said before a broker is looked for.
    plans::check(&record.release, &assignment)?;
    let mut session = Session::open(&fleet, global.timeout.0).await?;
    let in_waves = !args.waves.waves.is_empty();
    // From now on, so that nothing that devices say about it is missed.
    let devices = match args.wait.is_some() || in_waves || how.dry_run {
        true => Devices::gather(&fleet, &mut session).await?,
        false => Devices::default(),
    };
    let mut before = None;
    let plan = plans::succeed(&fleet, &mut session, how, |last| {
        let old = assignments::entries(last.map(|plan| &**plan));
        before = last.cloned();
        if !in_waves {
            given_up(&old, &assignment);
            return Ok(assignments::put(&old, assignment.clone()));
        }
        let rollout = rollout::resolve(&fleet, &args.waves, &old, &assignment, &devices)?;
        Ok(assignments::begin(&old, assignment.clone(), rollout))
    });
    let plan = plan.await?;
    if !args.json {
        report(&record, &assignment, &plan, how.dry_run)?;
    }
    if how.dry_run {
        let plans = (before.as_deref(), &*plan);
        rollout::preview(&fleet, &mut session, &record, &devices, plans, args.json).await?;
    } else if in_waves {
        rollout::drive(&fleet, &mut session, how, plan, Target(assignment), devices).await?;
    } else if let Some(patience) = args.wait {
        wait::until_running(&fleet, &mut session, &plan, &assignment, patience.0, devices).await?;
    }
    session.close().await;
    Ok(())
}

/// Publishes a plan in which this assignment has its place.
#[cfg(feature = "dev")]
pub(crate) async fn deploy(
    fleet: &Fleet,
    session: &mut Session,
    record: &Record,
    assignment: Assignment,
    how: How,
) -> Result<Verified<Plan>> {
    let version = &record.release.version;
    plans::check(&record.release, &assignment).with_context(|| format!("{} {version}", assignment.app))?;
    plans::succeed(fleet, session, how, |last| {
        let old = assignments::entries(last.map(|plan| &**plan));
        given_up(&old, &assignment);
        Ok(assignments::put(&old, assignment.clone()))
    })
    .await
}

/// Says what an assignment takes the place of, and what is lost with it.
pub(crate) fn given_up(old: &[Entry], new: &Assignment) {
    let mut told = None;
    for Entry { assignment, rollout } in old.iter().filter(|old| assignments::replaces(new, old)) {
        if let Some(rollout) = rollout.as_ref().filter(|_| assignment.release != new.release) {
            let (app, release, to) =
                (&assignment.app, assignment.release.digest.short(), selector::show(&assignment.to));
            let (wave, of) = (rollout.wave + 1, rollout.waves.len());
            say::note(format_args!("the rollout of {app} {release} on {to}, in wave {wave} of {of}, ends here"));
        }
        // Of a rollout and what it stood before, the same is said once.
        if told.replace(&assignment.to) != Some(&assignment.to) {
            lost_settings(assignment, new);
        }
    }
}

/// A deploy says everything: what it does not give is the release's own. Where that takes
/// something away that the last one gave, it is said.
fn lost_settings(old: &Assignment, new: &Assignment) {
    let mut lost = Vec::new();
    let gone = |name| new.env.iter().all(|(n, _)| n != name);
    lost.extend(old.env.iter().filter(|(name, _)| gone(name)).map(|(name, _)| format!("--env {name}=…")));
    let gone = |name| new.secrets.iter().all(|(n, _)| n != name);
    lost.extend(old.secrets.iter().filter(|(name, _)| gone(name)).map(|(name, _)| format!("--secret {name}=…")));
    if new.publish.is_none() {
        lost.extend(old.publish.iter().flatten().map(|p| format!("-p {}:{}{}", p.host, p.guest, p.protocol.suffix())));
    }
    if new.args.is_none() && old.args.is_some() {
        lost.push("-- ARGS".into());
    }
    if !lost.is_empty() {
        let (app, to) = (&new.app, selector::show(&old.to));
        say::note(format_args!("{app} on {to} loses what its last deploy gave: {}", lost.join(" ")));
    }
}

fn report(record: &Record, assignment: &Assignment, plan: &Plan, dry_run: bool) -> Result<()> {
    let (app, version, sequence) = (&assignment.app, &record.release.version, plan.sequence);
    let (to, until) = (selector::show(&assignment.to), time::show(plan.not_after));
    let would = if dry_run { "would be: " } else { "" };
    let mine = |(place, _): &&(u32, Rollout)| plan.assignments.get(*place as usize) == Some(assignment);
    let waves = plan.rollouts.iter().find(mine).map(|(_, rollout)| format!(" in {} waves", rollout.waves.len()));
    let waves = waves.unwrap_or_default();
    say::result(format_args!(
        "{would}plan {sequence}: {app} {version} on {to}{waves}; boards may take it until {until}"
    ))?;
    Ok(())
}

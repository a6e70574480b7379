//! `deploy`: orders a release onto devices.

use anyhow::{Context, Result};
use dunlin_core::{
    trust::Verified,
    wire::{Assignment, Plan},
};

use crate::{
    assignments,
    cli::{DeployArgs, Global},
    devices,
    fleet::Fleet,
    plans::{self, How},
    records::Record,
    say, secrets, selector,
    session::Session,
    time, wait,
};

/// Deploys an app.
pub(crate) async fn run(args: &DeployArgs, global: &Global) -> Result<()> {
    let to = selector::parse(&args.to).map_err(|e| crate::WrongUse(format!("{e:#}")))?;
    let fleet = Fleet::find(global.fleet.as_deref())?;
    let record = plans::choose(&fleet, &args.app.app, args.app.version.as_ref())?;
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
    if args.wait.is_some() && !how.dry_run {
        // From now on, so that nothing that devices say about it is missed.
        session.follow(&devices::filters(&fleet)).await?;
    }
    let plan = deploy(&fleet, &mut session, &record, assignment.clone(), how).await?;
    report(&record, &assignment, &plan, how.dry_run)?;
    if let Some(patience) = args.wait
        && !how.dry_run
    {
        wait::until_running(&fleet, &mut session, &plan, &assignment, patience.0).await?;
    }
    session.close().await;
    Ok(())
}

/// Publishes a plan in which this assignment has its place.
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
        let old = last.map(|plan| plan.assignments.as_slice()).unwrap_or_default();
        for given_up in old.iter().filter(|old| replaced(old, &assignment)) {
            lost_settings(given_up, &assignment);
        }
        Ok(assignments::put(old, assignment))
    })
    .await
}

/// Whether this assignment takes the place of an old one.
fn replaced(old: &Assignment, new: &Assignment) -> bool {
    assignments::is(old, &new.app, (!new.to.0.is_empty()).then_some(&new.to))
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
    say::result(format_args!("{would}plan {sequence}: {app} {version} on {to}; boards may take it until {until}"))?;
    Ok(())
}

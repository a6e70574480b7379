//! `remove`, `pause`, `resume`, `rollback`: a new plan that changes what an app has in the last one.

use anyhow::{Result, bail};
use dunlin_core::{
    trust::Verified,
    wire::{Assignment, Plan, Selector},
};

use crate::{
    WrongUse, agent,
    assignments::{self, Entry},
    cli::{Global, OrderArgs},
    fleet::Fleet,
    plans::{self, How},
    say, selector,
    session::Session,
    time,
};

/// What to do with an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Take it off the devices.
    Remove,
    /// Stop it for now.
    Pause,
    /// Let it run again.
    Resume,
    /// Run the release before.
    Rollback,
}

/// Does this with an app.
pub(crate) async fn run(order: Order, args: &OrderArgs, global: &Global) -> Result<()> {
    let to = selector::parse(&args.to).map_err(|e| WrongUse(format!("{e:#}")))?;
    let to = (!to.0.is_empty()).then(|| agent::narrowed(to, &args.app)).transpose()?;
    let fleet = Fleet::find(global.fleet.as_deref())?;
    let how = How { expires: args.expires.0, dry_run: args.dry_run };
    let mut session = Session::open(&fleet, global.timeout.0).await?;
    let edit = |last: Option<&Verified<Plan>>| match last {
        None => bail!("this fleet has no plan yet: deploy something first"),
        Some(last) => edit(&fleet, order, args, to.as_ref(), last),
    };
    let plan = plans::succeed(&fleet, &mut session, how, edit).await?;
    session.close().await;
    report(&fleet, order, args, to.as_ref(), &plan)
}

fn edit(
    fleet: &Fleet,
    order: Order,
    args: &OrderArgs,
    to: Option<&Selector>,
    last: &Verified<Plan>,
) -> Result<Vec<Entry>> {
    let (old, app) = (&assignments::entries(Some(last)), &args.app);
    let paused = |paused| move |a: &Assignment| Ok(Assignment { paused, ..a.clone() });
    match order {
        Order::Remove => assignments::remove(old, app, to),
        Order::Pause => assignments::change(old, app, to, paused(true)),
        Order::Resume => assignments::change(old, app, to, paused(false)),
        // What is being rolled out goes; what it was to take the place of never left.
        Order::Rollback => match assignments::take_back(old, app, to) {
            Some(left) => Ok(left),
            None => assignments::change(old, app, to, |a| before(fleet, last, a)),
        },
    }
}

/// What an assignment was before: as an earlier plan had it, with an older release; without such
/// a plan, itself with the release before.
fn before(fleet: &Fleet, last: &Verified<Plan>, now: &Assignment) -> Result<Assignment> {
    let mut plan = last.clone();
    while let Some(earlier) = plans::before(fleet, &plan)? {
        plan = earlier;
        // What was being rolled out then may have been taken back since.
        let same = |then: &Entry| then.rollout.is_none() && assignments::is(&then.assignment, &now.app, Some(&now.to));
        if let Some(Entry { assignment: then, .. }) = assignments::entries(Some(&plan)).into_iter().find(same)
            && then.release.counter < now.release.counter
        {
            return Ok(Assignment { paused: now.paused, ..then });
        }
    }
    let records = fleet.records(&now.app)?;
    let Some(older) = records.iter().rev().find(|record| record.release.counter < now.release.counter) else {
        let (app, to) = (&now.app, selector::show(&now.to));
        bail!("{app} on {to} has no release before this one in {}: deploy one by its version", fleet.dir.display());
    };
    let then = Assignment { release: older.order(), ..now.clone() };
    plans::check(&older.release, &then)?;
    Ok(then)
}

fn report(fleet: &Fleet, order: Order, args: &OrderArgs, to: Option<&Selector>, plan: &Plan) -> Result<()> {
    let app = &args.app;
    let would = if args.dry_run { "would be: " } else { "" };
    let (sequence, until) = (plan.sequence, time::show(plan.not_after));
    let verb = match order {
        Order::Remove => "removes",
        Order::Pause => "pauses",
        Order::Resume => "resumes",
        Order::Rollback => "rolls back",
    };
    let on = to.map(|to| format!(" on {}", selector::show(to))).unwrap_or_default();
    say::result(format_args!("{would}plan {sequence} {verb} {app}{on}; boards may take it until {until}"))?;
    if order == Order::Rollback {
        let records = fleet.records(app)?;
        for assignment in plan.assignments.iter().filter(|a| assignments::is(a, app, to)) {
            let record = records.iter().find(|record| record.order() == assignment.release);
            let version = record.map_or_else(|| assignment.release.digest.short(), |r| r.release.version.to_string());
            say::result(format_args!("  {app} {version} on {}", selector::show(&assignment.to)))?;
        }
    }
    Ok(())
}

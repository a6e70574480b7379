//! The fleet's plan: the newest that is known, its successor, and how that reaches the broker.

use std::{collections::BTreeMap, path::Path, time::Duration};

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use dunlin_core::{
    limits,
    policy::{self, Policy},
    trust::{self, Accepted, Verified},
    wire::{AppName, Assignment, Plan, Release, Topic},
};

use crate::{
    files::{self, Audience},
    fleet::Fleet,
    keys::Role,
    records::Record,
    release, say,
    session::{Message, Session},
    sign, time,
};

/// How to make a plan's successor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct How {
    /// How long boards may accept it.
    pub(crate) expires: Duration,
    /// Whether nothing is to be signed, kept or published.
    pub(crate) dry_run: bool,
}

/// The plan that this folder knows.
pub(crate) fn local(fleet: &Fleet) -> Result<Option<Verified<Plan>>> {
    read(fleet, &fleet.plan_file())
}

/// The plan before this one, if this folder knows it.
pub(crate) fn before(fleet: &Fleet, plan: &Plan) -> Result<Option<Verified<Plan>>> {
    let Some(previous) = plan.previous else { return Ok(None) };
    let old = read(fleet, &fleet.old_plan_file(plan.sequence - 1))?;
    Ok(old.filter(|old| old.digest() == previous))
}

fn read(fleet: &Fleet, path: &Path) -> Result<Option<Verified<Plan>>> {
    let verify = |bytes: Vec<u8>| trust::stored_plan(&fleet.root, &bytes).with_context(|| path.display().to_string());
    files::read_if_there(path)?.map(verify).transpose()
}

/// The newer of the broker's plan and this folder's.
pub(crate) async fn latest(fleet: &Fleet, session: &mut Session) -> Result<Option<Verified<Plan>>> {
    let topic = fleet.topics.format(&Topic::Plan);
    let fetched = session.fetch(std::slice::from_ref(&topic)).await?;
    let theirs = fetched.get(&topic).map(|bytes| trust::stored_plan(&fleet.root, bytes)).transpose();
    let theirs = match theirs {
        Ok(theirs) => theirs,
        Err(refusal) => {
            // Boards refuse it as well. The next plan takes its place.
            say::warning(format_args!("the broker keeps a plan that is not this fleet's: {refusal}"));
            None
        }
    };
    let ours = local(fleet)?;
    newer(fleet, theirs, ours)
}

fn newer(
    fleet: &Fleet,
    theirs: Option<Verified<Plan>>,
    ours: Option<Verified<Plan>>,
) -> Result<Option<Verified<Plan>>> {
    match (theirs, ours) {
        (Some(theirs), Some(ours)) if theirs.sequence == ours.sequence && theirs.digest() != ours.digest() => bail!(
            "there are two plans {}: the broker's and {}, because two people deployed at once. Boards keep the one \
             that they saw first. Take the broker's by moving {} away, and deploy again",
            ours.sequence,
            fleet.plan_file().display(),
            fleet.plan_file().display()
        ),
        (Some(theirs), ours) if ours.as_ref().is_none_or(|ours| theirs.sequence > ours.sequence) => Ok(Some(theirs)),
        (_, ours) => Ok(ours),
    }
}

/// Makes the successor of the newest plan and publishes it, with everything that a broker must
/// have for it. `edit` makes the new assignments of the old ones.
pub(crate) async fn succeed(
    fleet: &Fleet,
    session: &mut Session,
    how: How,
    edit: impl FnOnce(Option<&Verified<Plan>>) -> Result<Vec<Assignment>>,
) -> Result<Verified<Plan>> {
    let _lock = if how.dry_run { None } else { Some(fleet.lock()?) };
    let last = latest(fleet, session).await?;
    let assignments = edit(last.as_ref())?;
    let plan = sign_next(fleet, last.as_ref(), assignments, how.expires)?;
    if how.dry_run {
        return Ok(plan);
    }
    let message = Message { topic: fleet.topics.format(&Topic::Plan), payload: plan.to_bytes().into() };
    session.admits(&message)?;
    supply(fleet, session, &plan).await?;
    // It is kept before it is published: what anybody may have seen never gets another content.
    if let Some(last) = &last {
        keep(fleet, last)?;
    }
    keep(fleet, &plan)?;
    let what = format!("plan {}", plan.sequence);
    let published = session.publish(&what, vec![message]).await;
    published.with_context(|| format!("{what} is signed and kept, and the next deploy goes on from it"))?;
    Ok(plan)
}

fn keep(fleet: &Fleet, plan: &Verified<Plan>) -> Result<()> {
    let bytes = plan.to_bytes();
    files::write(&fleet.old_plan_file(plan.sequence), &bytes, Audience::All)?;
    files::write(&fleet.plan_file(), &bytes, Audience::All)
}

fn sign_next(
    fleet: &Fleet,
    last: Option<&Verified<Plan>>,
    assignments: Vec<Assignment>,
    expires: Duration,
) -> Result<Verified<Plan>> {
    let max = limits::ASSIGNMENTS_MAX;
    let count = assignments.len();
    if count > max {
        bail!("{count} assignments, more than the {max} that a plan can have: remove some, or select by label");
    }
    let now = time::now();
    let plan = Plan {
        fleet: fleet.name.clone(),
        sequence: last.map_or(1, |last| last.sequence + 1),
        previous: last.map(Verified::digest),
        // Boards take it for the least that the time can be, so it never goes back.
        issued: last.map_or(now, |last| now.max(last.issued)),
        not_after: time::after(now, expires),
        assignments,
    };
    let envelope = sign::seal(&plan, &[&fleet.key(Role::Deploy)?])?;
    let mark = last.map(Verified::mark);
    match trust::accept_plan(&fleet.root, mark.as_ref(), &envelope.encode(), now) {
        Ok(Accepted::New(plan)) => Ok(plan),
        Ok(Accepted::Same) => bail!("plan {} is there already", plan.sequence),
        Err(refusal) => Err(refusal).context("boards would refuse this plan"),
    }
}

/// Publishes the root and the releases of a plan where the broker does not have them (any more).
async fn supply(fleet: &Fleet, session: &mut Session, plan: &Plan) -> Result<()> {
    let root_topic = fleet.topics.format(&Topic::Root(fleet.root.version));
    let mut orders: BTreeMap<_, &AppName> = BTreeMap::new();
    for assignment in plan.assignments.iter().filter(|a| !a.paused) {
        orders.entry(assignment.release).or_insert(&assignment.app);
    }
    let topic_of = |digest| fleet.topics.format(&Topic::Release(digest));
    let topics: Vec<_> = orders.keys().map(|order| topic_of(order.digest)).chain([root_topic.clone()]).collect();
    let there = session.fetch(&topics).await?;
    if there.get(&root_topic).is_none_or(|bytes| **bytes != *fleet.root.to_bytes()) {
        let message = Message { topic: root_topic, payload: fleet.root.to_bytes().into() };
        session.publish("the root", vec![message]).await?;
    }
    for (order, app) in orders {
        let good = |bytes: &Bytes| trust::verify_release(&fleet.root, app, &order, bytes).is_ok();
        if there.get(&topic_of(order.digest)).is_some_and(good) {
            continue;
        }
        let Some(record) = fleet.records(app)?.into_iter().find(|record| record.order() == order) else {
            say::warning(format_args!(
                "the broker has lost a release of {app} ({}), and it was not made here: boards that do not have \
                 it yet cannot get it until it is released again",
                order.digest.short()
            ));
            continue;
        };
        let wasm = Bytes::from(fleet.module(&record.release)?);
        release::publish(fleet, session, &record, &wasm).await?;
    }
    Ok(())
}

/// Holds if a board that allows everything would start this release as it is assigned.
pub(crate) fn check(release: &Release, assignment: &Assignment) -> Result<()> {
    let anything = Policy { memory_bytes_max: u64::MAX, port_min: 1 };
    let admitted = policy::admit(&anything, release, assignment).map(drop);
    admitted.map_err(|refusal| {
        let why = refusal.sentence;
        anyhow!("{why} (what a deploy may give is in app.toml: publish, env, required-env, free-args)")
    })
}

/// The release that an assignment of this app is to have: this version's, or the newest.
pub(crate) fn choose(fleet: &Fleet, app: &AppName, version: Option<&dunlin_core::wire::Version>) -> Result<Record> {
    let mut records = fleet.records(app)?;
    let made: Vec<_> = records.iter().map(|record| record.release.version.to_string()).collect();
    let record = match version {
        None => records.pop(),
        Some(version) => records.into_iter().find(|record| record.release.version == *version),
    };
    let dir = fleet.dir.display();
    let Some(record) = record else {
        let Some(version) = version.filter(|_| !made.is_empty()) else {
            bail!("no release of {app} in {dir}: make one with `dunlinctl release app.toml`");
        };
        bail!("no release {version} of {app} in {dir}: there is {}", made.join(", "));
    };
    let bytes = record.envelope.encode();
    let verified = trust::verify_release(&fleet.root, app, &record.order(), &bytes);
    verified.with_context(|| format!("boards would refuse {app} {}", record.release.version))?;
    Ok(record)
}

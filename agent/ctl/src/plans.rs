//! The fleet's plan: the newest that is known, its successor, and how that reaches the broker.

use std::{collections::BTreeMap, path::Path, time::Duration};

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use dunlin_core::{
    Refusal, limits,
    policy::{self, Policy},
    trust::{self, Accepted, Verified},
    wire::{AppName, Assignment, Plan, Release, Topic},
};
use tokio::time::Instant;

use crate::{
    assignments::{self, Entry},
    files::{self, Audience},
    fleet::Fleet,
    records::Record,
    release, roots, say,
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
    // It may be by keys that were replaced since: boards go on with it until there is a newer one.
    let verify = |bytes: Vec<u8>| fleet.roots.chain().stored_plan(&bytes).with_context(|| path.display().to_string());
    files::read_if_there(path)?.map(verify).transpose()
}

/// The newer of the broker's plan and this folder's.
pub(crate) async fn latest(fleet: &Fleet, session: &mut Session) -> Result<Option<Verified<Plan>>> {
    let theirs = theirs(fleet, session, |bytes| trust::stored_plan(fleet.root(), bytes)).await?;
    newer(fleet, theirs, local(fleet)?)
}

/// The broker's plan, if this lets it through.
pub(crate) async fn theirs(
    fleet: &Fleet,
    session: &mut Session,
    verify: impl FnOnce(&[u8]) -> Result<Verified<Plan>, Refusal>,
) -> Result<Option<Verified<Plan>>> {
    let topic = fleet.topics.format(&Topic::Plan);
    let fetched = session.fetch(std::slice::from_ref(&topic)).await?;
    let Some(bytes) = fetched.get(&topic) else { return Ok(None) };
    match verify(bytes) {
        Ok(theirs) => Ok(Some(theirs)),
        Err(refusal) => {
            // Boards refuse it as well. The next plan takes its place.
            say::warning(format_args!("the broker keeps a plan that is not this fleet's: {refusal}"));
            Ok(None)
        }
    }
}

/// The newer of these two plans.
pub(crate) fn newer(
    fleet: &Fleet,
    theirs: Option<Verified<Plan>>,
    ours: Option<Verified<Plan>>,
) -> Result<Option<Verified<Plan>>> {
    match (theirs, ours) {
        // By keys that were replaced since, and theirs is by the new ones.
        (Some(theirs), Some(ours)) if ours.mark_under(fleet.root()).is_none() => Ok(Some(theirs)),
        (Some(theirs), Some(ours)) if theirs.sequence == ours.sequence && theirs.digest() != ours.digest() => bail!(
            "there are two plans {}: the broker's and {}, because two people deployed at once. Boards keep the one \
             that they saw first. Take the broker's by moving {} away, and deploy again",
            ours.sequence,
            fleet.plan_file().display(),
            fleet.plan_file().display()
        ),
        (Some(theirs), ours) if ours.as_ref().is_none_or(|ours| theirs.sequence > ours.sequence) => {
            if let Some(ours) = ours.filter(|ours| theirs.sequence == ours.sequence + 1)
                && theirs.previous != Some(ours.digest())
            {
                let (ours, theirs) = (ours.sequence, theirs.sequence);
                say::warning(format_args!(
                    "the broker's plan {theirs} was not made from plan {ours} of this folder: somebody deployed at the \
                     same time, and what plan {ours} changed may not be in it"
                ));
            }
            Ok(Some(theirs))
        }
        (_, ours) => Ok(ours),
    }
}

/// How often a plan is made again because somebody else published one meanwhile.
const TRIES: usize = 5;

/// How long what is retained may take to come once the broker has agreed to a subscription.
const RETAINED: Duration = Duration::from_millis(700);

/// Makes the successor of the newest plan and publishes it, with everything that a broker must
/// have for it. `edit` makes the new entries of the old ones.
pub(crate) async fn succeed(
    fleet: &Fleet,
    session: &mut Session,
    how: How,
    edit: impl FnMut(Option<&Verified<Plan>>) -> Result<Vec<Entry>>,
) -> Result<Verified<Plan>> {
    let _lock = if how.dry_run { None } else { Some(fleet.lock()?) };
    let last = latest(fleet, session).await?;
    succeed_to(fleet, session, how, last, edit).await
}

/// The same for a plan that is known to be the newest. Who calls this has locked the fleet.
///
/// Where somebody else was quicker, `edit` is asked again for what is to follow theirs: so both are in
/// the plan that comes out, and boards that took one of two plans with one sequence go on together.
pub(crate) async fn succeed_to(
    fleet: &Fleet,
    session: &mut Session,
    how: How,
    mut last: Option<Verified<Plan>>,
    mut edit: impl FnMut(Option<&Verified<Plan>>) -> Result<Vec<Entry>>,
) -> Result<Verified<Plan>> {
    for _ in 0..TRIES {
        let entries = edit(last.as_ref())?;
        match follow(fleet, session, how, last.as_ref(), entries).await? {
            Followed::Ours(plan) => return Ok(plan),
            Followed::Theirs(theirs) => {
                let sequence = theirs.sequence;
                say::note(format_args!("the plan changed: somebody else published plan {sequence}; ours follows it"));
                keep(fleet, &theirs)?;
                last = Some(theirs);
            }
        }
    }
    bail!("others publish plans all the time: {TRIES} of ours came too late. Deploy again when they are done");
}

/// Signs a plan once more, because the keys are others now. Who calls this has locked the fleet.
pub(crate) async fn again(
    fleet: &Fleet,
    session: &mut Session,
    how: How,
    last: Verified<Plan>,
) -> Result<Verified<Plan>> {
    succeed_to(fleet, session, how, Some(last), |last| Ok(assignments::entries(last.map(|plan| &**plan)))).await
}

/// What became of a plan.
enum Followed {
    /// It is what the broker gives to whoever asks.
    Ours(Verified<Plan>),
    /// Somebody else published this one before it.
    Theirs(Verified<Plan>),
}

/// Makes the plan that follows this one and publishes it.
async fn follow(
    fleet: &Fleet,
    session: &mut Session,
    how: How,
    last: Option<&Verified<Plan>>,
    entries: Vec<Entry>,
) -> Result<Followed> {
    let plan = sign_next(fleet, last, entries, how.expires)?;
    if how.dry_run {
        return Ok(Followed::Ours(plan));
    }
    let topic = fleet.topics.format(&Topic::Plan);
    let message = Message { topic: topic.clone(), payload: plan.to_bytes().into() };
    session.admits(&message)?;
    supply(fleet, session, &plan).await?;
    if let Some(theirs) = overtaken_before(fleet, session, &topic, &plan).await? {
        return Ok(Followed::Theirs(theirs));
    }
    // It is kept before it is published: what anybody may have seen never gets another content.
    if let Some(last) = last {
        keep(fleet, last)?;
    }
    keep(fleet, &plan)?;
    let what = format!("plan {}", plan.sequence);
    let published = session.publish(&what, vec![message]).await;
    published.with_context(|| format!("{what} is signed and kept, and the next deploy goes on from it"))?;
    match overtaken(fleet, session, &topic, &plan).await? {
        None => Ok(Followed::Ours(plan)),
        Some(theirs) => Ok(Followed::Theirs(theirs)),
    }
}

/// A plan of somebody else that is at the broker already, in the place that ours is to have.
async fn overtaken_before(
    fleet: &Fleet,
    session: &mut Session,
    topic: &str,
    ours: &Verified<Plan>,
) -> Result<Option<Verified<Plan>>> {
    // What is retained comes once; the first plan of all has nothing to wait for.
    let wait = session.put_aside(topic).await? && session.abilities().retain && ours.sequence > 1;
    let mut until = Instant::now() + if wait { RETAINED } else { Duration::ZERO };
    while let Some(bytes) = session.next_aside(topic, until).await? {
        if let Some(theirs) = rival(fleet, &bytes, ours) {
            return Ok(Some(theirs));
        }
        until = Instant::now();
    }
    Ok(None)
}

/// A plan of somebody else that came to the broker before ours, which it has now. Of two plans with one
/// sequence boards keep the first that they see.
async fn overtaken(
    fleet: &Fleet,
    session: &mut Session,
    topic: &str,
    ours: &Verified<Plan>,
) -> Result<Option<Verified<Plan>>> {
    let (bytes, deadline) = (ours.to_bytes(), Instant::now() + session.patience());
    let mut theirs = None;
    while let Some(message) = session.next_aside(topic, deadline).await? {
        if *message == *bytes {
            return Ok(theirs);
        }
        theirs = rival(fleet, &message, ours).or(theirs);
    }
    let sequence = ours.sequence;
    bail!(
        "the broker acknowledged plan {sequence}, and does not pass it on: see with `dunlinctl status` what boards have"
    );
}

/// A plan that is not ours, and would be refused beside it, or instead of which ours would be.
pub(crate) fn rival(fleet: &Fleet, bytes: &[u8], ours: &Verified<Plan>) -> Option<Verified<Plan>> {
    let theirs = trust::stored_plan(fleet.root(), bytes).ok()?;
    (theirs.sequence >= ours.sequence && theirs.digest() != ours.digest()).then_some(theirs)
}

/// Keeps a plan as the last one that is known.
pub(crate) fn keep(fleet: &Fleet, plan: &Verified<Plan>) -> Result<()> {
    let bytes = plan.to_bytes();
    files::write(&fleet.old_plan_file(plan.sequence), &bytes, Audience::All)?;
    files::write(&fleet.plan_file(), &bytes, Audience::All)
}

fn sign_next(
    fleet: &Fleet,
    last: Option<&Verified<Plan>>,
    entries: Vec<Entry>,
    expires: Duration,
) -> Result<Verified<Plan>> {
    let max = limits::ASSIGNMENTS_MAX;
    let count = entries.len();
    if count > max {
        bail!("{count} assignments, more than the {max} that a plan can have: remove some, or select by label");
    }
    let now = time::now();
    let mark = last.and_then(|last| last.mark_under(fleet.root()));
    // After a plan by keys that were replaced, boards take any sequence: who stole one of them and
    // signed the highest there is has not stopped the fleet.
    let sequence = match last.map(|last| last.sequence.checked_add(1)) {
        Some(Some(next)) => next,
        Some(None) if mark.is_some() => bail!("there is no sequence left: `dunlinctl root rotate deploy` frees them"),
        Some(None) | None => 1,
    };
    let (assignments, rollouts) = assignments::parts(entries);
    let plan = Plan {
        fleet: fleet.name.clone(),
        sequence,
        // The first of a new line has no predecessor.
        previous: last.filter(|_| sequence > 1).map(Verified::digest),
        // Boards take it for the least that the time can be, so it never goes back.
        issued: last.map_or(now, |last| now.max(last.issued)),
        not_after: time::after(now, expires),
        assignments,
        rollouts,
    };
    let keys = fleet.deploy_keys()?;
    let envelope = sign::seal(&plan, &keys.iter().collect::<Vec<_>>())?;
    match trust::accept_plan(fleet.root(), mark.as_ref(), &envelope.encode(), now) {
        Ok(Accepted::New(plan)) => Ok(plan),
        Ok(Accepted::Same) => bail!("plan {} is there already", plan.sequence),
        Err(refusal) => Err(refusal).context("boards would refuse this plan"),
    }
}

/// Publishes the roots and the releases of a plan where the broker does not have them (any more).
async fn supply(fleet: &Fleet, session: &mut Session, plan: &Plan) -> Result<()> {
    roots::publish(fleet, session).await?;
    let mut orders: BTreeMap<_, &AppName> = BTreeMap::new();
    for assignment in plan.assignments.iter().filter(|a| !a.paused) {
        orders.entry(assignment.release).or_insert(&assignment.app);
    }
    let topic_of = |digest| fleet.topics.format(&Topic::Release(digest));
    let topics: Vec<_> = orders.keys().map(|order| topic_of(order.digest)).collect();
    let there = session.fetch(&topics).await?;
    for (order, app) in orders {
        let good = |bytes: &Bytes| trust::verify_release(fleet.root(), app, &order, bytes).is_ok();
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
        let record = match release::renewed(fleet, record) {
            Ok(record) => record,
            Err(error) => {
                say::warning(format_args!("the plan orders what boards refuse: {error:#}"));
                continue;
            }
        };
        let wasm = Bytes::from(fleet.module(&record.release)?);
        fleet.keep(&record, &wasm)?;
        release::publish(fleet, session, &record, &wasm).await?;
    }
    Ok(())
}

/// Holds if a board that allows everything would start this release as it is assigned.
pub(crate) fn check(release: &Release, assignment: &Assignment) -> Result<()> {
    let mut policy = Policy::anything();
    policy.mounts = release.asks.mounts.iter().map(|mount| (mount.name.clone(), true)).collect();
    let admitted = policy::admit(&policy, release, assignment).map(drop);
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
    release::renewed(fleet, record)
}

//! Puts a complete root in force, and brings what it is to apply to under it: releases and the
//! plan are signed again where the keys that signed them are not the root's any more.

use anyhow::{Context, Result, bail};
use dunlin_core::{
    Code,
    trust::{self, Verified},
    wire::{Envelope, Plan, Root, Topic},
};

use super::plan::{self, Source};
use crate::{
    fleet::{Fleet, ROOT_FILE},
    plans::{self, How},
    release, roots, say,
    session::{Message, Session},
    time,
};

/// A root that boards will take, and the plan that goes on under it.
pub(super) struct Ready {
    next: Verified<Root>,
    plan: Option<Verified<Plan>>,
}

/// Whatever speaks against a root is said here, before anything changes.
pub(super) async fn ready(
    fleet: &Fleet,
    session: &mut Session,
    envelope: &Envelope,
    source: Option<Source>,
) -> Result<Ready> {
    let bytes = envelope.encode();
    let next = trust::next_root(fleet.root(), &bytes).context("boards would refuse this root")?;
    if let Some(theirs) = successor(fleet, session).await?
        && theirs.digest() != next.digest()
    {
        bail!("the broker has another root {}, made elsewhere: `dunlinctl root pull` takes it", next.version);
    }
    let topic = fleet.topics.format(&Topic::Root(next.version));
    session.admits(&Message { topic, payload: bytes.into() })?;
    let plan = plan::before_root(fleet, session, &next, source).await?;
    Ok(Ready { next, plan })
}

/// Keeps a root and publishes it, with what changes by it. Who calls this has locked the fleet.
pub(super) async fn adopt(fleet: &mut Fleet, session: &mut Session, ready: Ready) -> Result<()> {
    let Ready { next, plan } = ready;
    let version = next.version;
    fleet.adopt(next)?;
    let settled = settle(fleet, session, plan).await;
    settled.with_context(|| {
        let file = fleet.dir.join(ROOT_FILE);
        let file = file.display();
        format!("root {version} is kept, but not all is published: `dunlinctl root publish {file}` goes on")
    })
}

/// The successor of the root in force that the broker has, if there is one.
pub(super) async fn successor(fleet: &Fleet, session: &mut Session) -> Result<Option<Verified<Root>>> {
    let version = fleet.root().version + 1;
    let topic = fleet.topics.format(&Topic::Root(version));
    let there = session.fetch(std::slice::from_ref(&topic)).await?;
    let Some(bytes) = there.get(&topic) else { return Ok(None) };
    match trust::next_root(fleet.root(), bytes) {
        Ok(next) => Ok(Some(next)),
        Err(refusal) => {
            say::warning(format_args!("the broker keeps a root {version} that boards refuse: {refusal}"));
            Ok(None)
        }
    }
}

/// Publishes the roots, and what is signed again because of the newest.
pub(super) async fn settle(fleet: &Fleet, session: &mut Session, plan: Option<Verified<Plan>>) -> Result<()> {
    // With the old signatures and the new ones, so that boards before and after the root take them.
    if let Some(plan) = &plan {
        sign_releases(fleet, session, plan).await?;
    }
    roots::publish(fleet, session).await?;
    match plan {
        Some(plan) => sign_plan(fleet, session, plan).await,
        None => Ok(()),
    }
}

async fn sign_releases(fleet: &Fleet, session: &mut Session, plan: &Plan) -> Result<()> {
    let mut orders: Vec<_> = plan.assignments.iter().map(|a| (&a.app, a.release)).collect();
    orders.sort();
    orders.dedup();
    for (app, order) in orders {
        let (name, root) = (order.digest.short(), fleet.root().version);
        let Some(record) = fleet.records(app)?.into_iter().find(|record| record.order() == order) else {
            say::note(format_args!(
                "a release of {app} ({name}) that the plan orders was not made here: where it was made, \
                 `dunlinctl root pull` signs it again, if root {root} asks for that"
            ));
            continue;
        };
        let version = record.release.version.clone();
        match release::check(fleet, &record) {
            Ok(_) => {}
            Err(refusal) if refusal.code == Code::Unsigned => match release::renewed(fleet, record) {
                Ok(record) => {
                    fleet.keep_envelope(&record)?;
                    let message = release::envelope_message(fleet, &record);
                    session.publish(&format!("{app} {version}"), vec![message]).await?;
                    say::note(format_args!("signed {app} {version} again"));
                }
                Err(error) => say::warning(format_args!("{app} {version} must be signed again elsewhere: {error:#}")),
            },
            Err(refusal) => {
                say::warning(format_args!("the plan orders {app} {version}: {refusal}; deploy another release"));
            }
        }
    }
    Ok(())
}

/// Boards go on with the plan that they have, but take no other by keys that were replaced.
async fn sign_plan(fleet: &Fleet, session: &mut Session, last: Verified<Plan>) -> Result<()> {
    if last.mark_under(fleet.root()).is_some() {
        return Ok(());
    }
    let (sequence, root) = (last.sequence, fleet.root().version);
    if let Err(error) = fleet.deploy_keys() {
        say::warning(format_args!(
            "plan {sequence} is by keys that root {root} does not know. Boards go on with it; whoever has a deploy \
             key signs the next one with `dunlinctl root pull` ({error:#})"
        ));
        return Ok(());
    }
    let lifetime = last.not_after.0.saturating_sub(last.issued.0).max(1);
    let how = How { expires: std::time::Duration::from_secs(lifetime), dry_run: false };
    let plan = plans::again(fleet, session, how, last).await?;
    let until = time::show(plan.not_after);
    say::note(format_args!("signed the plan again, as plan {}; boards may take it until {until}", plan.sequence));
    Ok(())
}

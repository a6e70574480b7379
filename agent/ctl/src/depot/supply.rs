//! Roots, releases and the plan, put back where the broker has lost them: a visit of its own, so that
//! boards are answered meanwhile.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::Result;
use bytes::Bytes;
use dunlin_core::{
    trust,
    wire::{AppName, Plan, Topic},
};

use crate::{
    fleet::Fleet,
    plans, release, roots,
    session::{Message, Session},
};

/// Publishes what the fleet's folder has and the broker has not; says what that was.
pub(super) async fn supply(dir: PathBuf, patience: Duration) -> Result<Vec<String>> {
    // Anew each time: whoever releases and deploys with the folder goes on doing so.
    let fleet = Fleet::load(&dir)?;
    // Who deploys just now publishes all this as well, and a newer plan than the one that is here.
    let Some(_lock) = fleet.try_lock()? else { return Ok(Vec::new()) };
    let mut session = Session::connect(&fleet, patience).await?;
    let mut done = Vec::new();
    match roots::publish(&fleet, &mut session).await? {
        0 => {}
        1 => done.push("1 root".into()),
        count => done.push(format!("{count} roots")),
    }
    if let Some(plan) = plans::local(&fleet)? {
        supply_releases(&fleet, &mut session, &plan, &mut done).await?;
        let theirs = plans::theirs(&fleet, &mut session, |bytes| trust::stored_plan(fleet.root(), bytes)).await?;
        let has_it = theirs.as_ref().is_some_and(|theirs| theirs.digest() == plan.digest());
        let newest = plans::newer(&fleet, theirs, Some(plan.clone()))?;
        if !has_it && newest.is_some_and(|newest| newest.digest() == plan.digest()) {
            let message = Message { topic: fleet.topics.format(&Topic::Plan), payload: plan.to_bytes().into() };
            session.publish("the plan", vec![message]).await?;
            done.push(format!("plan {}", plan.sequence));
        }
    }
    session.close().await;
    Ok(done)
}

async fn supply_releases(fleet: &Fleet, session: &mut Session, plan: &Plan, done: &mut Vec<String>) -> Result<()> {
    let orders: BTreeMap<_, &AppName> = plan.assignments.iter().map(|a| (a.release, &a.app)).collect();
    let topic_of = |digest| fleet.topics.format(&Topic::Release(digest));
    let topics: Vec<_> = orders.keys().map(|order| topic_of(order.digest)).collect();
    let there = session.fetch(&topics).await?;
    let mut messages = Vec::new();
    for (order, app) in orders {
        let good = |bytes: &Bytes| trust::verify_release(fleet.root(), app, &order, bytes).is_ok();
        if there.get(&topic_of(order.digest)).is_some_and(good) {
            continue;
        }
        // What was not made here, another depot may have.
        let Some(record) = fleet.records(app)?.into_iter().find(|record| record.order() == order) else { continue };
        if release::check(fleet, &record).is_ok() {
            done.push(format!("{app} {}", record.release.version));
            messages.push(release::envelope_message(fleet, &record));
        }
    }
    if messages.is_empty() { Ok(()) } else { session.publish("releases", messages).await }
}

//! What a release may ask for, and until when a plan may ask at all.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says where")]

mod common;

use std::time::{SystemTime, UNIX_EPOCH};

use common::{Board, Fleet, Operator, broker, everywhere, release, role, sign_with};
use dunlin_core::wire::{
    Envelope, Plan, Release, Timestamp, Topic,
    state::{AppState, Phase},
};
use ed25519_dalek::SigningKey;

const MODULE: &[u8] = dunlin_guests::HELLO.bytes;

/// Publishes a release signed by these keys, and a plan that orders it.
async fn order(operator: &mut Operator, fleet: &Fleet, sequence: u64, release: &Release, keys: &[&SigningKey]) {
    operator.chunks(release, MODULE).await;
    let topic = Topic::Release(Envelope::unsigned(release).digest());
    operator.publish(&topic, sign_with(release, keys)).await;
    operator.plan(fleet, &fleet.plan(sequence, &[release])).await;
}

async fn runs(operator: &mut Operator, release: &Release) {
    let version = Some(release.version.clone());
    let fits = |a: &AppState| a.phase == Phase::Running && a.version == version;
    operator.state("it runs", |s| s.apps.iter().any(fits)).await;
}

#[tokio::test]
async fn more_than_before_needs_the_grant_key() {
    let grant = SigningKey::from_bytes(&[9; 32]);
    let (broker, mut fleet, port) = (broker::start(), Fleet::new("flock"), common::free_port());
    fleet.root.grant = Some(role(&grant));
    let key = fleet.release_key.clone();
    let board = Board::start(&fleet, &broker);
    let mut operator = Operator::connect(&fleet, &broker).await;

    // The first of an app asks for more than nothing.
    let first = release("hello", 1, MODULE, Some(port));
    order(&mut operator, &fleet, 1, &first, &[&key]).await;
    assert_eq!(operator.refusal().await, "widening");
    let topic = Topic::Release(everywhere(&first).release.digest);
    operator.publish(&topic, sign_with(&first, &[&key, &grant])).await;
    operator.plan(&fleet, &fleet.plan(2, &[&first])).await;
    runs(&mut operator, &first).await;

    // What asks for no more does not; the board remembers that over a restart.
    let board = Board::start_in(board.stop().await, &fleet, &broker);
    let second = release("hello", 2, MODULE, Some(port));
    order(&mut operator, &fleet, 3, &second, &[&key]).await;
    runs(&mut operator, &second).await;

    // What asks for more does, and the old one goes on meanwhile.
    let mut third = release("hello", 3, MODULE, Some(port));
    third.asks.memory_bytes += 65_536;
    order(&mut operator, &fleet, 4, &third, &[&key]).await;
    assert_eq!(operator.refusal().await, "widening");
    runs(&mut operator, &second).await;
    assert!(common::get(port).await.ends_with("Hello, WASM!"));
    order(&mut operator, &fleet, 5, &third, &[&key, &grant]).await;
    runs(&mut operator, &third).await;
    drop(board);
}

#[tokio::test]
async fn a_plan_that_goes_stale_raises_an_alarm_and_what_runs_goes_on() {
    let (broker, fleet, port) = (broker::start(), Fleet::new("flock"), common::free_port());
    let _board = Board::start(&fleet, &broker);
    let mut operator = Operator::connect(&fleet, &broker).await;
    let hello = release("hello", 1, MODULE, Some(port));
    operator.release(&fleet, &hello, MODULE).await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let short = Plan { not_after: Timestamp(now + 2), ..fleet.plan(1, &[&hello]) };
    operator.plan(&fleet, &short).await;
    runs(&mut operator, &hello).await;
    assert_eq!(operator.refusal().await, "plan-expired");
    assert!(common::get(port).await.ends_with("Hello, WASM!"));
    operator.plan(&fleet, &fleet.plan(2, &[&hello])).await;
    operator
        .state("the newer plan, no alarm", |s| s.refused.is_none() && s.plan.as_ref().is_some_and(|p| p.sequence == 2))
        .await;
}

//! What apps publish and hear over the agent's connection, and what of it they may not.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says where")]

mod common;

use common::{Board, Fleet, Operator, broker, device, release};
use dunlin_core::wire::{
    AppName, Release, Restart, Topic, TopicName,
    state::{AppState, Phase},
};
use dunlin_guests::{HELLO, TELEMETRY};

fn app() -> AppName {
    "sensor".parse().unwrap()
}

fn names(names: &[&str]) -> Vec<TopicName> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn out(name: &str) -> Topic {
    Topic::Out(device(), app(), name.parse().unwrap())
}

/// The guest that counts and says again what it hears.
fn telemetry(counter: u64, interval_ms: u64) -> Release {
    let mut release = release("sensor", counter, TELEMETRY.bytes, None);
    release.asks.listen.clear();
    release.asks.args = vec![interval_ms.to_string()];
    release.asks.topics_out = names(&["count", "echo"]);
    release.asks.topics_in = names(&["say"]);
    release
}

#[tokio::test]
async fn an_app_publishes_and_hears_under_its_own_topics() {
    let (broker, fleet) = (broker::start(), Fleet::new("flock"));
    let _board = Board::start(&fleet, &broker);
    let mut operator = Operator::connect(&fleet, &broker).await;
    operator.follow(&out("count")).await;
    operator.follow(&out("echo")).await;
    let first = telemetry(1, 200);
    operator.release(&fleet, &first, TELEMETRY.bytes).await;
    operator.plan(&fleet, &fleet.plan(1, &[&first])).await;
    operator.message("a count", &out("count"), |payload| payload == b"2").await;
    let say = Topic::In(device(), app(), "say".parse().unwrap());
    operator.publish(&say, "hello").await;
    operator.message("what it heard", &out("echo"), |payload| payload == b"hello").await;

    // What is said afterwards is for its successor. (The broker in this process would have retained messages
    // only for a first subscription.)
    let second = telemetry(2, 200);
    operator.release(&fleet, &second, TELEMETRY.bytes).await;
    operator.plan(&fleet, &fleet.plan(2, &[&second])).await;
    let runs = |state: &AppState| state.version == Some(second.version.clone()) && state.phase == Phase::Running;
    operator.state("its successor runs", |s| s.apps.iter().any(runs)).await;
    operator.publish(&say, "again").await;
    operator.message("what its successor heard", &out("echo"), |payload| payload == b"again").await;
}

#[tokio::test]
async fn who_publishes_without_end_holds_up_nobody() {
    let (broker, fleet) = (broker::start(), Fleet::new("flock"));
    let _board = Board::start(&fleet, &broker);
    let mut operator = Operator::connect(&fleet, &broker).await;
    operator.follow(&out("count")).await;
    let (flood, hello) = (telemetry(1, 0), release("hello", 1, HELLO.bytes, None));
    operator.release(&fleet, &flood, TELEMETRY.bytes).await;
    operator.release(&fleet, &hello, HELLO.bytes).await;
    operator.plan(&fleet, &fleet.plan(1, &[&flood])).await;
    operator.message("what was refused in between", &out("count"), skipped_some()).await;
    operator.plan(&fleet, &fleet.plan(2, &[&flood, &hello])).await;
    let runs = |app: &str, state: &AppState| state.app.as_str() == app && state.phase == Phase::Running;
    let among = |apps: &[AppState], app: &str| apps.iter().any(|state| runs(app, state));
    operator.state("both run", |s| ["sensor", "hello"].iter().all(|app| among(&s.apps, app))).await;
    operator.message("it goes on", &out("count"), |_| true).await;
}

/// Whether a count is not the one after the last: those in between were refused, by the rate.
fn skipped_some() -> impl FnMut(&[u8]) -> bool {
    let mut last = None;
    move |payload| {
        let count: u64 = std::str::from_utf8(payload).unwrap().parse().unwrap();
        last.replace(count).is_some_and(|last| count > last + 1)
    }
}

/// Publishes under this name until it is refused, or just once, and exits with the errno.
fn publishes(name: &str, until_refused: bool) -> Vec<u8> {
    let (bytes, again) = (name.len(), if until_refused { "(br_if $again (i32.eqz (local.get 0)))" } else { "" });
    let text = format!(
        r#"(module
            (import "dunlin" "publish" (func $publish (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "{name}")
            (func (export "_start") (local i32)
                (loop $again
                    (local.set 0 (call $publish (i32.const 0) (i32.const {bytes}) (i32.const 0) (i32.const 4)))
                    {again})
                (call $exit (local.get 0))))"#
    );
    wat::parse_str(text).unwrap()
}

/// What a board says of the end of a module that may publish under `count`.
async fn outcome(module: &[u8]) -> String {
    let (broker, fleet) = (broker::start(), Fleet::new("flock"));
    let mut board = Board::start(&fleet, &broker);
    let mut operator = Operator::connect(&fleet, &broker).await;
    let mut release = release("sensor", 1, module, None);
    release.asks.listen.clear();
    release.asks.topics_out = names(&["count"]);
    release.restart = Restart::Never;
    operator.release(&fleet, &release, module).await;
    operator.plan(&fleet, &fleet.plan(1, &[&release])).await;
    board.app("it is over", |app| app.phase == Phase::Finished).await.why.unwrap()
}

#[tokio::test]
async fn what_was_not_granted_and_what_is_too_much_is_refused_by_errno() {
    assert_eq!(outcome(&publishes("count", false)).await, "it exited with 0");
    assert_eq!(outcome(&publishes("other", false)).await, "it exited with 2", "ACCES");
    assert_eq!(outcome(&publishes("count", true)).await, "it exited with 6", "AGAIN");
}

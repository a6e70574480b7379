//! Apps that end, hang, trap or are unwell: what the board does, and what it says of them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says where")]

mod common;

use common::{Board, Fleet, Operator, broker, release};
use dunlin_core::wire::{
    Health, Probe, Release, Restart, World,
    state::{AppState, DeviceState, Phase},
};
use dunlin_guests::Artifact;

/// A board and its operator; nothing is deployed yet.
struct Scene {
    fleet: Fleet,
    operator: Operator,
    _board: Board,
}

impl Scene {
    async fn new() -> Self {
        let (broker, fleet) = (broker::start(), Fleet::new("flock"));
        let board = Board::start(&fleet, &broker);
        let operator = Operator::connect(&fleet, &broker).await;
        Self { fleet, operator, _board: board }
    }

    /// Deploys one guest as `app`, as this makes of its release.
    async fn deploy(&mut self, guest: &Artifact, change: impl FnOnce(&mut Release)) {
        let mut release = release("app", 1, guest.bytes, None);
        change(&mut release);
        self.operator.release(&self.fleet, &release, guest.bytes).await;
        self.operator.plan(&self.fleet, &self.fleet.plan(1, &[&release])).await;
    }

    async fn app(&mut self, what: &str, matches: impl Fn(&AppState) -> bool) -> AppState {
        let state = self.operator.state(what, |s: &DeviceState| s.apps.iter().any(&matches)).await;
        state.apps.into_iter().find(matches).unwrap()
    }
}

#[tokio::test]
async fn a_guest_that_traps_is_restarted_ever_more_rarely_and_says_why() {
    let mut scene = Scene::new().await;
    scene.deploy(&dunlin_guests::TRAP, |_| {}).await;
    let app = scene.app("it failed three times", |a| a.phase == Phase::BackingOff && a.failures >= 3).await;
    assert!(app.why.unwrap().contains("unreachable"));
}

#[tokio::test]
async fn a_guest_that_is_done_is_left_alone_if_it_asked_for_that() {
    let mut scene = Scene::new().await;
    scene
        .deploy(&dunlin_guests::EXIT, |release| {
            release.asks.args = vec!["3".into()];
            release.restart = Restart::Never;
        })
        .await;
    let app = scene.app("it is finished", |a| a.phase == Phase::Finished).await;
    assert_eq!((app.why.as_deref(), app.failures), (Some("it exited with 3"), 0));
}

#[tokio::test]
async fn a_guest_that_never_accepts_is_started_again_while_others_run() {
    let mut scene = Scene::new().await;
    let hello = release("hello", 1, dunlin_guests::HELLO.bytes, None);
    let mut spin = release("spin", 1, dunlin_guests::SPIN.bytes, None);
    spin.health.start_ms = 300;
    scene.operator.release(&scene.fleet, &hello, dunlin_guests::HELLO.bytes).await;
    scene.operator.release(&scene.fleet, &spin, dunlin_guests::SPIN.bytes).await;
    scene.operator.plan(&scene.fleet, &scene.fleet.plan(1, &[&spin, &hello])).await;
    scene.app("hello runs", |a| a.app.as_str() == "hello" && a.phase == Phase::Running).await;
    let app = scene
        .app("spin is restarted", |a| a.app.as_str() == "spin" && a.failures >= 2 && a.phase == Phase::BackingOff)
        .await;
    assert_eq!(app.why.as_deref(), Some("it was not well within 300 ms of its start"));
}

#[tokio::test]
async fn health_is_what_the_guest_answers() {
    let mut scene = Scene::new().await;
    let health = |path: &str, status| Health {
        probe: Probe::Http { port: 7878, path: path.into(), status },
        interval_ms: 50,
        failures: 2,
        start_ms: 1_000,
        ..Health::default()
    };
    scene.deploy(&dunlin_guests::HELLO, |release| release.health = health("/", 200)).await;
    scene.app("it is well", |a| a.phase == Phase::Running).await;

    let mut picky = release("picky", 1, dunlin_guests::HELLO.bytes, None);
    picky.health = health("/teapot", 418);
    scene.operator.release(&scene.fleet, &picky, dunlin_guests::HELLO.bytes).await;
    scene.operator.plan(&scene.fleet, &scene.fleet.plan(2, &[&picky])).await;
    let app = scene.app("it is unwell", |a| a.app.as_str() == "picky" && a.phase == Phase::BackingOff).await;
    let why = "it was not well within 1000 ms of its start: GET /teapot says 200, not 418";
    assert_eq!(app.why.as_deref(), Some(why));
}

#[tokio::test]
async fn a_component_is_an_app_like_any_other() {
    let mut scene = Scene::new().await;
    scene
        .deploy(&dunlin_guests::component::PLAIN_SERVER, |release| {
            release.world = World::Command;
            release.health.probe = Probe::Http { port: 7878, path: "/".into(), status: 200 };
        })
        .await;
    scene.app("it is well", |a| a.phase == Phase::Running).await;
}

#[tokio::test]
async fn a_plan_pauses_changes_and_removes_apps() {
    let mut scene = Scene::new().await;
    let mut env = release("env", 1, dunlin_guests::ENV.bytes, None);
    env.asks.listen.clear();
    env.asks.env = vec![("GREETING".parse().unwrap(), Some("Hello".into()))];
    env.restart = Restart::Never;
    scene.operator.release(&scene.fleet, &env, dunlin_guests::ENV.bytes).await;
    let plan = |sequence| scene.fleet.plan(sequence, &[&env]);
    let [first, mut paused, mut changed, mut gone] = [1, 2, 3, 4].map(plan);
    paused.assignments[0].paused = true;
    changed.assignments[0].env = vec![("GREETING".parse().unwrap(), "Moin".into())];
    gone.assignments.clear();

    scene.operator.plan(&scene.fleet, &first).await;
    scene.app("it ran", |a| a.phase == Phase::Finished).await;
    scene.operator.plan(&scene.fleet, &paused).await;
    scene.app("it is paused", |a| a.phase == Phase::Paused).await;
    scene.operator.plan(&scene.fleet, &changed).await;
    scene.app("it ran again", |a| a.phase == Phase::Finished).await;
    scene.operator.plan(&scene.fleet, &gone).await;
    scene.operator.state("it is gone", |s| s.apps.is_empty()).await;
}

#[tokio::test]
async fn a_restarted_board_runs_what_it_ran_without_hearing_from_a_broker() {
    let (broker, fleet) = (broker::start(), Fleet::new("flock"));
    let board = Board::start(&fleet, &broker);
    let mut operator = Operator::connect(&fleet, &broker).await;
    let port = common::free_port();
    let hello = release("hello", 1, dunlin_guests::HELLO.bytes, Some(port));
    operator.release(&fleet, &hello, dunlin_guests::HELLO.bytes).await;
    operator.plan(&fleet, &fleet.plan(1, &[&hello])).await;
    operator.state("hello runs", |s| s.apps.iter().any(|a| a.phase == Phase::Running)).await;
    let state = board.stop().await;
    let mut nowhere = broker.clone();
    nowhere.url = format!("mqtt://127.0.0.1:{}", common::free_port()).parse().unwrap();
    let _board = Board::start_in(state, &fleet, &nowhere);
    assert!(common::get(port).await.ends_with("Hello, WASM!"));
}

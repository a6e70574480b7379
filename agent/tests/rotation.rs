//! The root of trust moves on: keys are replaced and releases revoked, while boards run.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says where")]

mod common;

use common::{Board, Fleet, Operator, broker, release, role, sign, sign_with};
use dunlin_core::wire::{
    Envelope, Floor, Plan, Release, Root, Topic,
    state::{AppState, Phase},
};
use ed25519_dalek::SigningKey;

/// A board that runs `hello` by plan 1, and its operator.
struct Scene {
    fleet: Fleet,
    broker: dunlin::link::Broker,
    board: Board,
    operator: Operator,
    hello: Release,
    port: u16,
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

/// The successor of a root, changed like this.
fn next(root: &Root, change: impl FnOnce(&mut Root)) -> Root {
    let mut next = Root { version: root.version + 1, ..root.clone() };
    change(&mut next);
    next
}

impl Scene {
    async fn new() -> Self {
        let (broker, fleet, port) = (broker::start(), Fleet::new("flock"), common::free_port());
        let board = Board::start(&fleet, &broker);
        let mut operator = Operator::connect(&fleet, &broker).await;
        let hello = release("hello", 1, dunlin_guests::HELLO.bytes, Some(port));
        operator.release(&fleet, &hello, dunlin_guests::HELLO.bytes).await;
        operator.plan(&fleet, &fleet.plan(1, &[&hello])).await;
        let mut scene = Self { fleet, broker, board, operator, hello, port };
        scene.app("hello runs", |a| a.phase == Phase::Running).await;
        scene
    }

    async fn app(&mut self, what: &str, matches: impl Fn(&AppState) -> bool) {
        self.operator.state(what, |s| s.apps.iter().any(&matches)).await;
    }

    async fn root(&mut self, version: u64) {
        self.operator.state("a root", |s| s.root == version).await;
    }

    /// Publishes a root, signed by these keys.
    async fn publish(&mut self, root: &Root, keys: &[&SigningKey]) {
        self.operator.publish(&Topic::Root(root.version), sign_with(root, keys)).await;
    }

    async fn answers(&self) {
        assert!(common::get(self.port).await.ends_with("Hello, WASM!"));
    }
}

#[tokio::test]
async fn a_board_that_was_away_walks_through_all_roots_and_remembers_them() {
    let mut scene = Scene::new().await;
    let state = scene.board.stop().await;
    // Three generations of root keys, each signed by the last and by itself.
    let keys = [scene.fleet.root_key.clone(), key(11), key(12), key(13)];
    let mut roots = vec![scene.fleet.root.clone()];
    for pair in keys.windows(2) {
        let root = next(roots.last().unwrap(), |root| root.root = role(&pair[1]));
        scene.operator.publish(&Topic::Root(root.version), sign_with(&root, &[&pair[0], &pair[1]])).await;
        roots.push(root);
    }
    let board = Board::start_in(state, &scene.fleet, &scene.broker);
    scene.operator.state("the last root", |s| s.root == 4).await;
    // Away with what the broker has: the board needs nobody to tell it again.
    for version in 2..=4 {
        scene.operator.publish(&Topic::Root(version), Vec::new()).await;
    }
    let state = board.stop().await;
    let _board = Board::start_in(state, &scene.fleet, &scene.broker);
    scene.operator.state("it runs under the last root", |s| s.root == 4 && s.apps[0].phase == Phase::Running).await;
}

#[tokio::test]
async fn roots_that_do_not_follow_are_refused() {
    let mut scene = Scene::new().await;
    let (old, new) = (scene.fleet.root_key.clone(), key(11));
    let taken_over = next(&scene.fleet.root, |root| root.root = role(&new));
    scene.publish(&taken_over, &[&new]).await;
    assert_eq!(scene.operator.refusal().await, "unsigned");
    let elsewhere = next(&scene.fleet.root, |root| root.fleet = "herd".parse().unwrap());
    scene.operator.publish(&Topic::Root(2), sign(&elsewhere, &old)).await;
    assert_eq!(scene.operator.refusal().await, "wrong-fleet");
    let gap = next(&next(&scene.fleet.root, |_| {}), |_| {});
    scene.operator.publish(&Topic::Root(2), sign(&gap, &old)).await;
    assert_eq!(scene.operator.refusal().await, "root-gap");
    scene.publish(&taken_over, &[&old]).await;
    assert_eq!(scene.operator.refusal().await, "unsigned");
    scene.publish(&taken_over, &[&old, &new]).await;
    scene.root(2).await;
    scene.answers().await;
}

#[tokio::test]
async fn a_revoked_release_ends_and_the_next_one_starts() {
    let mut scene = Scene::new().await;
    let root_key = scene.fleet.root_key.clone();
    let module = scene.hello.module.sha256;
    // The same module under another counter is as revoked as the release is.
    let revoked = next(&scene.fleet.root, |root| root.revoked = vec![Envelope::unsigned(&scene.hello).digest()]);
    scene.publish(&revoked, &[&root_key]).await;
    assert_eq!(scene.operator.refusal().await, "revoked");
    scene.app("hello is refused", |a| a.phase == Phase::Refused).await;

    let second = release("hello", 2, dunlin_guests::HELLO.bytes, Some(scene.port));
    assert_eq!(second.module.sha256, module);
    scene.operator.release(&scene.fleet, &second, dunlin_guests::HELLO.bytes).await;
    scene.operator.plan(&scene.fleet, &scene.fleet.plan(2, &[&second])).await;
    scene.app("hello 2 runs", |a| a.phase == Phase::Running && a.version == Some(second.version.clone())).await;
    scene.answers().await;

    let floor = next(&revoked, |root| root.floors = vec![Floor { app: "hello".parse().unwrap(), counter: 3 }]);
    scene.publish(&floor, &[&root_key]).await;
    assert_eq!(scene.operator.refusal().await, "below-floor");
    scene.app("hello 2 is refused", |a| a.phase == Phase::Refused).await;
}

#[tokio::test]
async fn a_stolen_deploy_key_is_outlived() {
    let mut scene = Scene::new().await;
    // The thief orders nothing new, but signs the highest sequence there is.
    let last = Plan { sequence: u64::MAX, ..scene.fleet.plan(2, &[&scene.hello]) };
    scene.operator.plan(&scene.fleet, &last).await;
    scene.operator.state("the thief's plan", |s| s.plan.as_ref().is_some_and(|p| p.sequence == u64::MAX)).await;

    let new = key(22);
    let rotated = next(&scene.fleet.root, |root| root.deploy = role(&new));
    let root_key = scene.fleet.root_key.clone();
    scene.publish(&rotated, &[&root_key]).await;
    scene.root(2).await;
    scene.answers().await;

    // Nobody has signed a plan with the new key yet; a board that starts now runs what it ran.
    let state = scene.board.stop().await;
    scene.board = Board::start_in(state, &scene.fleet, &scene.broker);
    scene.operator.state("it runs", |s| s.root == 2 && s.apps.iter().any(|a| a.phase == Phase::Running)).await;
    scene.answers().await;

    let plan = scene.fleet.plan(3, &[&scene.hello]);
    scene.operator.publish(&Topic::Plan, sign(&plan, &new)).await;
    scene.operator.state("plan 3", |s| s.plan.as_ref().is_some_and(|p| p.sequence == 3)).await;
    let again = sign(&scene.fleet.plan(4, &[]), &scene.fleet.deploy_key);
    scene.operator.publish(&Topic::Plan, again).await;
    assert_eq!(scene.operator.refusal().await, "unsigned");
    scene.answers().await;
}

#[tokio::test]
async fn a_plan_that_came_before_its_root_is_taken_when_the_root_comes() {
    let mut scene = Scene::new().await;
    let new = key(22);
    let plan = scene.fleet.plan(2, &[]);
    scene.operator.publish(&Topic::Plan, sign(&plan, &new)).await;
    assert_eq!(scene.operator.refusal().await, "unsigned");
    let rotated = next(&scene.fleet.root, |root| root.deploy = role(&new));
    let root_key = scene.fleet.root_key.clone();
    scene.publish(&rotated, &[&root_key]).await;
    scene.operator.state("plan 2", |s| s.apps.is_empty()).await;
}

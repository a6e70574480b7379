//! Whatever stands on the broker: the board refuses it with the right code, what runs keeps
//! running, and nothing half-written stays.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says where")]

mod common;

use common::{Board, Fleet, Operator, broker, everywhere, free_port, release, sign};
use dunlin_core::{
    limits,
    wire::{
        Digest, Envelope, Kind, Plan, Release, Timestamp, Topic,
        state::{DeviceState, Phase},
    },
};
/// A board that runs `hello` by plan 1, and its operator.
struct Scene {
    fleet: Fleet,
    board: Board,
    operator: Operator,
    hello: Release,
    port: u16,
}

impl Scene {
    async fn new() -> Self {
        let (broker, fleet, port) = (broker::start(), Fleet::new("flock"), free_port());
        let board = Board::start(&fleet, &broker);
        let mut operator = Operator::connect(&fleet, &broker).await;
        let module = dunlin_guests::HELLO.bytes;
        let hello = release("hello", 1, module, Some(port));
        operator.release(&fleet, &hello, module).await;
        operator.plan(&fleet, &fleet.plan(1, &[&hello])).await;
        operator.state("hello runs", |s| s.apps.iter().any(|a| a.phase == Phase::Running)).await;
        let scene = Self { fleet, board, operator, hello, port };
        scene.answers().await;
        scene
    }

    /// Publishes a plan's bytes, whatever they are, and expects this refusal and no harm.
    async fn refuses_plan(&mut self, bytes: Vec<u8>, code: &str) {
        self.operator.publish(&Topic::Plan, bytes).await;
        assert_eq!(self.operator.refusal().await, code);
        self.unharmed().await;
    }

    /// Orders another app beside `hello`, and expects this refusal and no harm.
    async fn refuses_release(&mut self, other: &Release, code: &str) {
        self.operator.plan(&self.fleet, &self.fleet.plan(2, &[&self.hello, other])).await;
        assert_eq!(self.operator.refusal().await, code);
        self.unharmed().await;
    }

    async fn unharmed(&self) {
        self.answers().await;
        let mut files = Vec::new();
        for folder in ["state", "state/releases", "state/blobs"] {
            let entries = std::fs::read_dir(self.board.path().join(folder)).unwrap();
            files.extend(entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()));
        }
        let temporary: Vec<_> = files.iter().filter(|name| name.starts_with(".new-")).collect();
        assert!(temporary.is_empty(), "{temporary:?}");
    }

    async fn answers(&self) {
        let answer = common::get(self.port).await;
        assert!(answer.ends_with("Hello, WASM!"), "{answer}");
    }

    fn next_plan(&self) -> Plan {
        self.fleet.plan(2, &[&self.hello])
    }
}

#[tokio::test]
async fn a_plan_signed_by_another_key() {
    let mut scene = Scene::new().await;
    let bytes = sign(&scene.next_plan(), &scene.fleet.release_key);
    scene.refuses_plan(bytes, "unsigned").await;
}

#[tokio::test]
async fn a_plan_whose_body_was_changed() {
    let mut scene = Scene::new().await;
    let mut envelope = Envelope::decode(&sign(&scene.next_plan(), &scene.fleet.deploy_key), Kind::Plan).unwrap();
    *envelope.body.last_mut().unwrap() ^= 1;
    scene.refuses_plan(envelope.encode(), "bad-signature").await;
}

#[tokio::test]
async fn a_plan_for_another_fleet_by_our_own_key() {
    let mut scene = Scene::new().await;
    let other = Plan { fleet: "herd".parse().unwrap(), ..scene.next_plan() };
    let bytes = sign(&other, &scene.fleet.deploy_key);
    scene.refuses_plan(bytes, "wrong-fleet").await;
}

#[tokio::test]
async fn an_older_plan_and_a_fork() {
    let mut scene = Scene::new().await;
    let newer = scene.fleet.plan(3, &[&scene.hello]);
    scene.operator.plan(&scene.fleet, &newer).await;
    scene.operator.state("plan 3", |s| s.plan.as_ref().is_some_and(|p| p.sequence == 3)).await;
    let older = sign(&scene.next_plan(), &scene.fleet.deploy_key);
    scene.refuses_plan(older, "old-plan").await;
    let fork = Plan { assignments: vec![], ..newer };
    let fork = sign(&fork, &scene.fleet.deploy_key);
    scene.refuses_plan(fork, "fork").await;
}

#[tokio::test]
async fn a_plan_that_came_too_late() {
    let mut scene = Scene::new().await;
    let late = Plan { not_after: Timestamp(1_000), ..scene.next_plan() };
    let bytes = sign(&late, &scene.fleet.deploy_key);
    scene.refuses_plan(bytes, "plan-expired").await;
}

#[tokio::test]
async fn a_truncated_an_oversized_and_a_meaningless_message() {
    let mut scene = Scene::new().await;
    let whole = sign(&scene.next_plan(), &scene.fleet.deploy_key);
    scene.refuses_plan(whole[..whole.len() / 2].to_vec(), "malformed").await;
    scene.refuses_plan(vec![b'x'; limits::ENVELOPE_BYTES_MAX + 1], "oversized").await;
    scene.refuses_plan(b"{\"apps\": []}".to_vec(), "malformed").await;
    let release = sign(&scene.hello, &scene.fleet.release_key);
    scene.refuses_plan(release, "wrong-kind").await;
}

#[tokio::test]
async fn a_release_of_another_app() {
    let mut scene = Scene::new().await;
    let other = release("other", 1, dunlin_guests::HELLO.bytes, None);
    scene.operator.release(&scene.fleet, &other, dunlin_guests::HELLO.bytes).await;
    let mut assignment = everywhere(&other);
    assignment.app = "third".parse().unwrap();
    let mut plan = scene.next_plan();
    plan.assignments.push(assignment);
    scene.operator.plan(&scene.fleet, &plan).await;
    assert_eq!(scene.operator.refusal().await, "wrong-app");
    scene.unharmed().await;
}

#[tokio::test]
async fn a_release_signed_by_the_deploy_key_and_then_the_right_one() {
    let mut scene = Scene::new().await;
    let other = release("other", 1, dunlin_guests::HELLO.bytes, None);
    scene.operator.chunks(&other, dunlin_guests::HELLO.bytes).await;
    let topic = Topic::Release(Envelope::unsigned(&other).digest());
    let stolen = sign(&other, &scene.fleet.deploy_key);
    scene.operator.publish(&topic, stolen).await;
    scene.refuses_release(&other, "unsigned").await;
    // Who fills a topic with rubbish only delays what the right key says.
    let right = sign(&other, &scene.fleet.release_key);
    scene.operator.publish(&topic, right).await;
    scene.operator.state("other runs", |s| s.apps.iter().all(|a| a.phase == Phase::Running)).await;
}

#[tokio::test]
async fn a_chunk_that_does_not_hash_and_then_the_right_one() {
    let mut scene = Scene::new().await;
    let module = dunlin_guests::ENV.bytes;
    let mut other = release("other", 1, module, None);
    other.asks.listen.clear();
    scene.operator.release(&scene.fleet, &other, module).await;
    let chunk = Topic::Blob(other.module.sha256, 1);
    scene.operator.publish(&chunk, vec![0; other.module.chunk_bytes as usize]).await;
    scene.refuses_release(&other, "wrong-chunk").await;
    let at = other.module.chunk_bytes as usize;
    scene.operator.publish(&chunk, module[at..2 * at].to_vec()).await;
    let ran = |s: &DeviceState| {
        s.apps.iter().any(|a| a.app.as_str() == "other" && a.version.is_some() && a.phase != Phase::Fetching)
    };
    scene.operator.state("other runs", ran).await;
}

#[tokio::test]
async fn a_release_that_contradicts_itself() {
    let mut scene = Scene::new().await;
    let module = dunlin_guests::ENV.bytes;
    let mut other = release("other", 1, module, None);
    other.module.sha256 = Digest::of(b"something else");
    scene.operator.release(&scene.fleet, &other, module).await;
    scene.refuses_release(&other, "wrong-module").await;
    assert!(!scene.board.path().join("state/blobs").join(other.module.sha256.to_string()).exists());
}

#[tokio::test]
async fn modules_that_cannot_run_here() {
    let mut scene = Scene::new().await;
    let not_wasm = b"#!/bin/sh\necho hello\n";
    // (module (import "env" "launch" (func)) (func (export "_start")))
    let unknown_import = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x02\x0e\x01\x03env\x06launch\0\0\x03\x02\x01\0\x07\x0a\x01\x06_start\0\x01\x0a\x04\x01\x02\0\x0b";
    for (sequence, module) in [(2, &not_wasm[..]), (3, &unknown_import[..])] {
        let other = release("other", sequence, module, None);
        scene.operator.release(&scene.fleet, &other, module).await;
        let plan = scene.fleet.plan(sequence, &[&scene.hello, &other]);
        scene.operator.plan(&scene.fleet, &plan).await;
        assert_eq!(scene.operator.refusal().await, "bad-module");
        let refused = |s: &DeviceState| {
            s.apps.iter().any(|a| a.phase == Phase::Refused && a.release == Envelope::unsigned(&other).digest())
        };
        scene.operator.state("it is shown as refused", refused).await;
        scene.unharmed().await;
    }
}

#[tokio::test]
async fn a_module_for_another_world_than_the_signed_one() {
    let mut scene = Scene::new().await;
    let component = dunlin_guests::component::PLAIN_SERVER.bytes;
    let other = release("other", 1, component, None);
    scene.operator.release(&scene.fleet, &other, component).await;
    scene.refuses_release(&other, "bad-module").await;
}

#[tokio::test]
async fn more_than_the_board_allows() {
    let mut scene = Scene::new().await;
    let mut other = release("other", 1, dunlin_guests::HELLO.bytes, None);
    other.asks.memory_bytes = 9 << 20;
    scene.operator.release(&scene.fleet, &other, dunlin_guests::HELLO.bytes).await;
    scene.refuses_release(&other, "policy").await;
}

#[tokio::test]
async fn a_refused_update_leaves_the_old_release_running() {
    let mut scene = Scene::new().await;
    let module = b"not a module at all";
    let bad = release("hello", 2, module, Some(scene.port));
    scene.operator.release(&scene.fleet, &bad, module).await;
    scene.operator.plan(&scene.fleet, &scene.fleet.plan(2, &[&bad])).await;
    let state = scene.operator.state("the next one is refused", |s| s.apps.iter().any(|a| a.next.is_some())).await;
    let app = &state.apps[0];
    assert_eq!((app.phase, app.release), (Phase::Running, Envelope::unsigned(&scene.hello).digest()));
    scene
        .operator
        .state("it says why", |s| s.apps[0].next.as_ref().is_some_and(|n| n.phase == Phase::Refused && n.why.is_some()))
        .await;
    scene.unharmed().await;
}

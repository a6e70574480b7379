//! Replacing a release while it serves: nothing is dropped, and what is no good goes back.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says where")]

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use common::{Board, Fleet, Operator, broker, free_port, get, release, within};
use dunlin_core::wire::{
    Release, Start,
    state::{AppState, Phase},
};
use dunlin_guests::{Artifact, ENV, HELLO, SPIN, TRAP};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A board that runs the first release of `app`, published on a port.
struct Scene {
    fleet: Fleet,
    broker: dunlin::link::Broker,
    operator: Operator,
    board: Board,
    port: u16,
    sequence: u64,
}

impl Scene {
    async fn new() -> Self {
        let (broker, fleet) = (broker::start(), Fleet::new("flock"));
        let board = Board::start(&fleet, &broker);
        let operator = Operator::connect(&fleet, &broker).await;
        let mut scene = Self { fleet, broker, operator, board, port: free_port(), sequence: 0 };
        scene.deploy(&HELLO, |_| {}).await;
        scene.board.app("the first runs", |app| app.phase == Phase::Running).await;
        scene
    }

    /// Deploys the next release, which this guest is, as the change makes of it.
    async fn deploy(&mut self, guest: &Artifact, change: impl FnOnce(&mut Release)) -> Release {
        self.sequence += 1;
        let mut release = release("app", self.sequence, guest.bytes, Some(self.port));
        change(&mut release);
        self.operator.release(&self.fleet, &release, guest.bytes).await;
        self.operator.plan(&self.fleet, &self.fleet.plan(self.sequence, &[&release])).await;
        release
    }

    async fn reverted(&mut self) -> AppState {
        let reverted = |app: &AppState| app.next.as_ref().is_some_and(|next| next.phase == Phase::Reverted);
        self.board.app("it is reverted", reverted).await
    }
}

fn version(app: &AppState) -> &str {
    app.version.as_ref().unwrap().as_str()
}

#[tokio::test]
async fn a_release_that_is_well_takes_over_and_is_the_good_one_after_its_trial() {
    let mut scene = Scene::new().await;
    scene.deploy(&HELLO, |_| {}).await;
    let app = scene.board.app("it is on trial", |app| app.phase == Phase::Trial).await;
    assert_eq!(version(&app), "2.0.0");
    scene.board.app("its trial is over", |app| app.phase == Phase::Running && version(app) == "2.0.0").await;
    assert!(get(scene.port).await.contains("Hello, WASM!"));
}

#[tokio::test]
async fn releases_that_are_no_good_are_reverted_and_say_why_while_the_old_one_serves() {
    let mut scene = Scene::new().await;
    for (guest, why) in [(&TRAP, "unreachable"), (&SPIN, "not well within 300 ms"), (&ENV, "exited")] {
        scene.deploy(guest, |release| release.health.start_ms = 300).await;
        let app = scene.reverted().await;
        assert_eq!((version(&app), app.phase), ("1.0.0", Phase::Running), "the old one runs");
        let next = app.next.unwrap();
        assert!(next.why.as_ref().unwrap().contains(why), "{next:?}");
        assert!(get(scene.port).await.contains("Hello, WASM!"));
    }
}

#[tokio::test]
async fn a_release_that_goes_wrong_after_it_took_over_is_reverted_too() {
    let mut scene = Scene::new().await;
    // It answers its first connections and then is not well any more.
    let stops = scene.deploy(&HELLO, |release| {
        release.trial_ms = 60_000;
        release.health.probe = dunlin_core::wire::Probe::Http { port: 7878, path: "/".into(), status: 200 };
        (release.health.interval_ms, release.health.failures, release.health.timeout_ms) = (50, 2, 200);
    });
    stops.await;
    scene.board.app("it is on trial", |app| app.phase == Phase::Trial).await;
    // Who connects and says nothing holds it up: it serves one connection at a time.
    let silent = TcpStream::connect(("127.0.0.1", scene.port)).await.unwrap();
    let app = scene.reverted().await;
    let next = app.next.clone().unwrap();
    assert!(next.why.as_ref().unwrap().contains("health check failed 2 times"), "{next:?}");
    drop(silent);
    scene.board.app("the old one is back", |app| app.phase == Phase::Running && version(app) == "1.0.0").await;
    assert!(get(scene.port).await.contains("Hello, WASM!"));
}

#[tokio::test]
async fn what_was_on_trial_when_the_power_went_is_not_started_again_until_the_plan_changes() {
    let mut scene = Scene::new().await;
    scene.deploy(&HELLO, |release| release.trial_ms = 60_000).await;
    scene.board.app("it is on trial", |app| app.phase == Phase::Trial).await;
    let state = scene.board.kill().await;
    scene.board = Board::start_in(state, &scene.fleet, &scene.broker);
    let app = scene.reverted().await;
    assert_eq!(version(&app), "1.0.0");
    assert!(app.next.unwrap().why.unwrap().contains("lost power"));
    scene.deploy(&HELLO, |_| {}).await;
    scene.board.app("a new plan runs", |app| app.phase == Phase::Running && version(app) == "3.0.0").await;
}

#[tokio::test]
async fn who_stops_the_agent_during_a_trial_gets_another_one() {
    let mut scene = Scene::new().await;
    scene.deploy(&HELLO, |release| release.trial_ms = 60_000).await;
    scene.board.app("it is on trial", |app| app.phase == Phase::Trial).await;
    let state = scene.board.stop().await;
    scene.board = Board::start_in(state, &scene.fleet, &scene.broker);
    scene.board.app("it is on trial again", |app| app.phase == Phase::Trial && version(app) == "2.0.0").await;
}

#[tokio::test]
async fn a_hundred_updates_drop_no_request() {
    let mut scene = Scene::new().await;
    let (over, failed, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::default());
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (over, failed, served) = (Arc::clone(&over), Arc::clone(&failed), Arc::<AtomicUsize>::clone(&served));
            let port = scene.port;
            tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    match request(port).await {
                        Ok(answer) if answer.ends_with("Hello, WASM!") => served.fetch_add(1, Ordering::Relaxed),
                        _ => failed.fetch_add(1, Ordering::Relaxed),
                    };
                }
            })
        })
        .collect();
    for _ in 0..100 {
        scene.deploy(&HELLO, |release| release.trial_ms = 0).await;
        let expected = format!("{}.0.0", scene.sequence);
        scene.board.app("it took over", |app| app.phase == Phase::Running && version(app) == expected).await;
    }
    over.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(failed.load(Ordering::Relaxed), 0);
    assert!(served.load(Ordering::Relaxed) >= 100);
}

/// One request on a connection of its own.
async fn request(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn on_demand_the_first_connection_starts_it_and_silence_puts_it_away() {
    let mut scene = Scene::new().await;
    scene.deploy(&HELLO, |release| release.start = Start::OnDemand { idle_ms: 200 }).await;
    scene.board.app("its trial is over and nobody wants it", |app| app.phase == Phase::Asleep).await;
    for _ in 0..3 {
        assert!(get(scene.port).await.contains("Hello, WASM!"));
        scene.board.app("it is put away", |app| app.phase == Phase::Asleep).await;
    }
    let held = TcpStream::connect(("127.0.0.1", scene.port)).await.unwrap();
    scene.board.app("it runs", |app| app.phase == Phase::Running).await;
    let asleep = scene.board.app("it is put away", |app| app.phase == Phase::Asleep);
    assert!(within(asleep, Duration::from_millis(600)).await.is_none(), "not while somebody is connected");
    drop(held);
    scene.board.app("it is put away", |app| app.phase == Phase::Asleep).await;
}

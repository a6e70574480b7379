//! `dunlinctl depot`: what the broker lost or forgets reaches every board, and goes over the wire once.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's helpers fail the test")]

mod common;

use std::{
    fs,
    io::{BufRead, BufReader, Lines},
    net::Ipv4Addr,
    process::{ChildStdout, Stdio},
    sync::Arc,
};

use common::{Running, World, broker, link, wait_for};
use dunlin::{
    agent,
    config::Config,
    link::{Event, Link, Tls},
};
use dunlin_core::{
    policy::Policy,
    wire::{
        Digest, Topic,
        state::{AppState, Phase},
        topic,
    },
};
use serde_json::Value;
use tokio::{sync::mpsc, task::JoinSet};

const BOARDS: usize = 10;

/// A depot that runs, and what it says.
struct Depot {
    running: Running,
    said: Lines<BufReader<ChildStdout>>,
}

impl Depot {
    fn start(world: &World) -> Self {
        let mut command = world.command(&["depot", "--json", "--rate", "64MiB/s"]);
        let mut running = Running(command.stdout(Stdio::piped()).spawn().unwrap());
        let said = BufReader::new(running.0.stdout.take().unwrap()).lines();
        Self { running, said }
    }

    /// Waits until it says this.
    fn until(&mut self, event: &str) -> Value {
        loop {
            let line = self.said.next().expect("the depot runs").unwrap();
            let said: Value = serde_json::from_str(&line).unwrap();
            if said["event"] == event {
                return said;
            }
        }
    }
}

/// A fleet with a plan for a large app, at a broker that lost all of it.
fn bereft() -> (World, Digest, Digest) {
    let mut world = World::new();
    world.release_large("large", 1024 * 1024);
    world.ok(&["deploy", "large"]);
    let order = world.plan().assignments[0].release;
    let (release, _) = world.fetched("large", &order);
    world.lose_broker();
    (world, order.digest, release.module.sha256)
}

struct Apps(mpsc::UnboundedSender<AppState>);

impl agent::Watch for Apps {
    fn app(&self, state: &AppState) {
        // Who has seen enough has dropped its end.
        let _ = self.0.send(state.clone());
    }
}

fn board(world: &World, number: usize) -> Config {
    Config {
        device: format!("pi-{number}").parse().unwrap(),
        labels: [].into(),
        state_dir: world.path(&format!("pi-{number}")),
        root: world.fleet("root.dunlin"),
        broker: broker(world.port),
        http: Tls::default(),
        prefix: topic::PREFIX.into(),
        policy: Policy::default(),
        connect: None,
        directories: std::collections::BTreeMap::new(),
        bind: Ipv4Addr::LOCALHOST.into(),
        door: None,
        front: None,
        home_assistant: None,
    }
}

/// Runs a board until its app has ended well.
async fn run_board(config: Config) {
    let (watch, mut apps) = mpsc::unbounded_channel::<AppState>();
    let finished = async move { while apps.recv().await.unwrap().phase != Phase::Finished {} };
    agent::run(config, Arc::new(Apps(watch)), finished).await.unwrap();
}

async fn follow(link: &mut Link, filter: String) {
    loop {
        match link.next().await {
            Event::Connected(_) => link.subscribe(filter.clone()),
            Event::Subscribed { outcome, .. } => return outcome.unwrap(),
            Event::Disconnected { why, .. } => panic!("{why}"),
            Event::Message { .. } | Event::Acknowledged(_) | Event::Undeliverable { .. } => {}
        }
    }
}

#[test]
fn boards_that_want_the_same_get_it_by_one_answer() {
    let (world, release, module) = bereft();
    let chunks = 22;
    let mut depot = Depot::start(&world);
    let supplied = depot.until("supplied")["what"].to_string();
    assert_eq!(supplied, r#"["1 root","large 1.0.0","plan 1"]"#);
    // The release once more, while the depot believes that it is there.
    common::publish(world.port, &[(world.topics().format(&Topic::Release(release)), Vec::new())]);

    let sent = wait_for(async {
        let mut wire = link(world.port);
        follow(&mut wire, world.topics().every_chunk(&module)).await;
        let mut boards: JoinSet<()> = (0..BOARDS).map(|number| run_board(board(&world, number))).collect();
        let mut sent = 0;
        loop {
            tokio::select! {
                ended = boards.join_next() => match ended {
                    Some(ended) => ended.unwrap(),
                    None => return sent,
                },
                event = wire.next() => sent += usize::from(matches!(event, Event::Message { .. })),
            }
        }
    });
    assert!((chunks..=chunks + chunks / 10).contains(&sent), "{sent} messages carried {chunks} chunks to {BOARDS}");
    assert_eq!(depot.running.interrupt().0, 0);
}

#[test]
fn what_nobody_can_have_is_said_and_harms_nothing() {
    let (world, _, module) = bereft();
    let mut depot = Depot::start(&world);
    depot.until("connected");
    let want = |digest| world.topics().format(&Topic::Want(digest));
    let nowhere = Digest::of(b"nowhere");
    depot.until("supplied");
    common::publish(world.port, &[(want(nowhere), vec![1]), (want(module), vec![1])]);
    assert_eq!(depot.until("unknown")["digest"], nowhere.to_string());
    let why = depot.until("refused")["why"].to_string();
    assert!(why.contains("a bitmap of 1 bytes for 22 chunks") && why.contains("[malformed]"), "{why}");

    // A file that was damaged gives nothing, and is named.
    let path = world.fleet("modules").join(format!("{module}.wasm"));
    let mut bytes = fs::read(&path).unwrap();
    bytes[100] ^= 1;
    fs::write(&path, bytes).unwrap();
    common::publish(world.port, &[(want(module), vec![1, 0, 0])]);
    assert_eq!(depot.until("wanted")["chunks"], 1);
    let why = depot.until("failed")["why"].to_string();
    assert!(why.contains(path.to_str().unwrap()) && why.contains("is damaged"), "{why}");
    assert!(world.retained(&[Topic::Blob(module, 0)]).is_empty());
}

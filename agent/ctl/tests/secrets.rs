//! Secrets: read by the boards that they are for, and by nobody else on the way.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod common;

use std::{
    fs,
    sync::{Arc, mpsc},
};

use common::{World, broker};
use dunlin::{agent, config::Config, identity, link, store::Disk};
use dunlin_core::{
    policy::Policy,
    wire::{AppName, Topic},
};
use dunlin_host::Stream;

struct Lines(mpsc::Sender<String>);

impl agent::Watch for Lines {
    fn line(&self, _: &AppName, _: Stream, line: &str) {
        // The test has seen enough.
        let _ = self.0.send(line.into());
    }
}

/// Runs a board until its app, which prints its environment, has printed this.
fn prints(world: &World, device: &str, wanted: &str) {
    let config = Config {
        device: device.parse().unwrap(),
        labels: [].into(),
        state_dir: world.path(device),
        root: world.fleet("root.dunlin"),
        broker: broker(world.port),
        http: link::Tls::default(),
        prefix: "dunlin/v1".into(),
        policy: Policy::default(),
        connect: None,
        directories: [].into(),
        bind: [127, 0, 0, 1].into(),
        door: None,
        front: None,
        home_assistant: None,
    };
    let (lines, printed) = mpsc::channel();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let board = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let stopped = async { _ = stopped.await };
        runtime.block_on(agent::run(config, Arc::new(Lines(lines)), stopped)).unwrap();
    });
    while printed.recv_timeout(std::time::Duration::from_secs(120)).unwrap() != wanted {}
    drop(stop);
    board.join().unwrap();
}

#[test]
fn a_secret_reaches_the_board_that_it_is_sealed_to_and_nobody_on_the_way() {
    let world = World::new();
    let file = world.app("env", "1.0.0", "required-env = [\"TOKEN\"]\nrestart = \"never\"\n", "(module)");
    fs::write(world.path("env").join("app.wasm"), dunlin_guests::ENV.bytes).unwrap();
    world.ok(&["release", &file]);
    let error = world.fails(1, &["deploy", "env", "--to", "device=pi-1", "--secret", "TOKEN=hunter2"]);
    assert!(error.contains("the key of pi-1 is not known here") && error.contains("dunlin key"), "{error}");

    let key = identity::opening_key(&Disk::default(), &world.path("pi-1")).unwrap().public().to_string();
    world.ok(&["device", "add", "pi-1", &key]);
    let error = world.fails(1, &["device", "add", "pi-1", &"0".repeat(64)]);
    assert!(error.contains("pi-1 has another key"), "{error}");
    assert_eq!(world.ok(&["device", "list"]).out, format!("pi-1 {key}\n"));

    let secret = world.path("token");
    fs::write(&secret, "hunter2\n").unwrap();
    let arg = format!("TOKEN=@{}", secret.display());
    world.ok(&["deploy", "env", "--to", "device=pi-1", "--secret", &arg]);
    prints(&world, "pi-1", "TOKEN=hunter2");

    let clear = |bytes: &[u8]| bytes.windows(7).any(|bytes| bytes == b"hunter2");
    assert!(!clear(&world.plan().to_bytes()), "the plan carries it sealed");
    let state = Topic::State("pi-1".parse().unwrap());
    let states = world.retained(std::slice::from_ref(&state));
    assert!(!clear(&states[&state]) && String::from_utf8_lossy(&states[&state]).contains(&key));
    for file in common::files_below(&world.path("pi-1")) {
        assert!(!clear(&fs::read(&file).unwrap()), "{}", file.display());
    }
    let error = world.fails(1, &["deploy", "env"]);
    assert!(error.contains("env needs TOKEN"), "{error}");
}

//! A crowd of devices at a mosquitto: it queues a thousand messages for a client and drops the others without a
//! word, so that an operator would see a part of the fleet and take it for the whole.
//!
//! Needs mosquitto (Debian: `apt install mosquitto`). Without it these tests are ignored, and say
//! so; with `CI=true` they fail instead.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says where")]

mod common;
#[path = "../../tests/common/needs.rs"]
mod needs;

use std::{
    fs,
    net::TcpStream,
    process::{Command, Stdio},
};

use common::{Running, World, eventually, free_port, module};
use dunlin_core::wire::{Topic, state::DeviceState};
use libtest_mimic::Arguments;

/// More than the thousand and the twenty in flight.
const DEVICES: usize = 1_300;

fn main() {
    let tests: &[(_, fn())] = &[
        ("what_a_broker_lost_of_a_crowd_is_said", what_a_broker_lost_of_a_crowd_is_said),
        ("a_broker_that_queues_enough_shows_all", a_broker_that_queues_enough_shows_all),
    ];
    needs::run(&Arguments::from_args(), needs::missing_mosquitto(), tests);
}

/// A fleet at a mosquitto with these settings, of which so many devices have said something.
fn crowd(settings: &str) -> (World, Running) {
    let mut world = World::without_fleet();
    world.port = free_port();
    let config = world.path("mosquitto.conf");
    let port = world.port;
    fs::write(&config, format!("listener {port} 127.0.0.1\nallow_anonymous true\n{settings}")).unwrap();
    let mut command = Command::new(needs::mosquitto::program().expect("mosquitto is installed"));
    let command = command.arg("-c").arg(config).stdout(Stdio::null()).stderr(Stdio::null());
    let broker = Running(command.spawn().unwrap());
    eventually("mosquitto listens", || TcpStream::connect(("127.0.0.1", port)).ok());
    world.ok(&["init", "flock", "--broker", &format!("mqtt://127.0.0.1:{port}")]);
    let state = |device: &str| DeviceState {
        device: device.parse().unwrap(),
        fleet: "flock".parse().unwrap(),
        labels: [].into(),
        agent: "0.1.0".into(),
        root: 1,
        sealing_key: None,
        plan: None,
        apps: vec![],
        refused: None,
        broker: vec![],
        trouble: None,
        at: common::now(),
    };
    let says = |number: usize| {
        let device = format!("pi-{number}");
        let topic = |topic: Topic| world.topics().format(&topic);
        let json = serde_json::to_vec(&state(&device)).unwrap();
        let device: dunlin_core::wire::DeviceId = device.parse().unwrap();
        [(topic(Topic::Online(device.clone())), b"1".to_vec()), (topic(Topic::State(device)), json)]
    };
    let messages: Vec<_> = (0..DEVICES).flat_map(says).collect();
    // No more at once than a link keeps.
    messages.chunks(100).for_each(|some| common::publish(port, some));
    (world, broker)
}

fn what_a_broker_lost_of_a_crowd_is_said() {
    let (world, _broker) = crowd("");
    let run = world.ok(&["status", "--json"]);
    let seen = serde_json::from_str::<serde_json::Value>(&run.out).unwrap();
    let seen = seen.as_array().unwrap();
    assert!((1_000..DEVICES).contains(&seen.len()), "{}", seen.len());
    assert!(run.err.contains("the broker lost some of what devices said"), "{}", run.err);
    assert!(run.err.contains(&format!("only {} devices are seen", seen.len())), "{}", run.err);
    assert!(run.err.contains("max_queued_messages"), "{}", run.err);
    // Of those that are seen at all, everything is.
    assert!(seen.iter().all(|device| device["root"] == 1 && device["online"] == true));
    // A rollout does not take a part for the whole either.
    let file = world.app("hello", "1.0.0", "", &module("1"));
    world.ok(&["release", &file]);
    let run = world.ok(&["deploy", "hello", "--waves", "1,100%", "--dry-run"]);
    assert!(run.err.contains("the broker lost some of what devices said"), "{}", run.err);
}

fn a_broker_that_queues_enough_shows_all() {
    let (world, _broker) = crowd("max_queued_messages 25000\n");
    let run = world.ok(&["status", "--json"]);
    let seen = serde_json::from_str::<serde_json::Value>(&run.out).unwrap();
    assert_eq!((seen.as_array().unwrap().len(), run.err.as_str()), (DEVICES, ""));
}

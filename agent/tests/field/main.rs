//! The path as it is used in the field: mosquitto 2 with TLS 1.3, passwords, client certificates and an ACL,
//! `dunlin agent` as a process, `dunlinctl` as a process, and each of them killed in between.
//!
//! Needs mosquitto (Debian: `apt install mosquitto`). Without it these tests are ignored, and say
//! so; with `CI=true` they fail instead.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says where")]

mod broker;
#[path = "../common/needs.rs"]
mod needs;
#[path = "../common/ports.rs"]
mod ports;
mod site;
mod thief;
mod wire;

mod delivery;
mod memory;

use std::time::Duration;

use broker::Mosquitto;
use libtest_mimic::Arguments;
use site::{Agent, Site, eventually};
use thief::Thief;

fn main() {
    let tests: &[(_, fn())] = &[
        ("a_deploy_converges_whoever_is_killed", a_deploy_converges_whoever_is_killed),
        ("a_board_writes_only_what_is_its_own", a_board_writes_only_what_is_its_own),
        ("a_broker_that_refuses_us_is_named", a_broker_that_refuses_us_is_named),
        ("a_broker_that_lost_everything_is_made_up_for", delivery::a_broker_that_lost_everything_is_made_up_for),
        (
            "the_peak_of_a_fetch_does_not_depend_on_the_module",
            memory::the_peak_of_a_fetch_does_not_depend_on_the_module,
        ),
        ("a_broker_that_keeps_nothing_is_coped_with", delivery::a_broker_that_keeps_nothing_is_coped_with),
    ];
    needs::run(&Arguments::from_args(), needs::missing_mosquitto(), tests);
}

fn a_deploy_converges_whoever_is_killed() {
    let mut broker = Mosquitto::start();
    let site = Site::new(&broker);
    let kitchen = site.agent_config("pi-kitchen", "kitchen");
    let mut agent = Agent::start(&kitchen);

    site.release("1.0.0");
    site.ctl(&["deploy", "hello@1.0.0", "--to", "site=kitchen"]);
    site.wait_for_hello(&agent);
    site.wait_for_state("pi-kitchen", "1.0.0", "running", &agent);

    // The agent is killed and starts what it had, before any broker speaks to it.
    broker.kill();
    agent.kill();
    agent = Agent::start(&kitchen);
    site.wait_for_hello(&agent);

    // The broker comes back with what it persisted.
    broker.restart();
    site.wait_for_state("pi-kitchen", "1.0.0", "running", &agent);

    // A newer release, with the broker killed right after the operator's tool is done with it.
    site.release("1.1.0");
    site.ctl(&["deploy", "hello@1.1.0", "--to", "site=kitchen"]);
    broker.kill();
    broker.restart();
    site.wait_for_state("pi-kitchen", "1.1.0", "running", &agent);
    site.wait_for_hello(&agent);

    // An agent that was away while the fleet moved on.
    agent.kill();
    site.release("1.2.0");
    site.ctl(&["deploy", "hello@1.2.0", "--to", "site=kitchen"]);
    broker.stop();
    broker.restart();
    agent = Agent::start(&kitchen);
    site.wait_for_state("pi-kitchen", "1.2.0", "running", &agent);
    site.wait_for_hello(&agent);

    // Another site is not meant, and a device that ends well says so.
    site.ctl(&["deploy", "hello@1.0.0", "--to", "site=hall"]);
    site.wait_for_state("pi-kitchen", "1.2.0", "running", &agent);
    agent.terminate();
    eventually("the device is offline", Duration::from_secs(60), || {
        site.status().iter().any(|device| device["device"] == "pi-kitchen" && device["online"] == false)
    });
}

/// A board's credentials, in the hands of somebody else.
fn a_board_writes_only_what_is_its_own() {
    let broker = Mosquitto::start();
    let mut thief = Thief::new(&broker, "pi-hall");
    for its_own in ["device/pi-hall/state", "device/pi-hall/log/hello", "want/00"] {
        assert_eq!(thief.publish(its_own), Ok(()), "{its_own}");
    }
    for other in
        ["plan", "root/2", "release/00", "blob/00/0", "device/pi-kitchen/state", "device/pi-kitchen/follow/hello"]
    {
        let refused = thief.publish(other).expect_err(other);
        assert!(refused.contains("NotAuthorized"), "{other}: {refused}");
    }
}

fn a_broker_that_refuses_us_is_named() {
    let broker = Mosquitto::start();
    let site = Site::new(&broker);

    let config = site.agent_config("pi-hall", "hall");
    let text = std::fs::read_to_string(&config).unwrap();

    let wrong = config.with_file_name("wrong-password.toml");
    std::fs::write(&wrong, text.replace("password_file = \"password\"", "password = \"wrong\"")).unwrap();
    let agent = Agent::start(&wrong);
    agent.wait_for_log("the broker refuses the connection");
    drop(agent);

    let nobody = config.with_file_name("no-certificate.toml");
    let without: Vec<_> = text.lines().filter(|l| !l.starts_with("certificate") && !l.starts_with("key =")).collect();
    std::fs::write(&nobody, without.join("\n")).unwrap();
    let agent = Agent::start(&nobody);
    agent.wait_for_log("no broker: ");
    drop(agent);

    // The operator hears of it too, and is not left waiting.
    let refused =
        site.try_ctl(&["--timeout", "3s", "status", "--fleet", site.fleet_without_certificate().to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
}

//! A module's way to the board while the broker forgets, and over brokers that never kept anything.

use crate::{
    broker::Mosquitto,
    site::{Agent, Site},
    wire::Wire,
};

const MODULE_BYTES: usize = 4 * 1024 * 1024;

/// The broker is killed in the middle of a transfer and comes back empty: a depot gives the rest, and
/// nothing comes twice.
pub(crate) fn a_broker_that_lost_everything_is_made_up_for() {
    let mut broker = Mosquitto::start_with("persistence false\n");
    let site = Site::new(&broker);
    let wire = Wire::to(broker.port());
    let kitchen = site.agent_config_at("pi-kitchen", "kitchen", wire.port());
    let module_bytes = site.release_large("1.0.0", MODULE_BYTES).len() as u64;
    site.ctl(&["deploy", "hello"]);
    let depot = site.depot();

    wire.hold_at(module_bytes / 2);
    let agent = Agent::start(&kitchen);
    wire.wait_for_hold();
    broker.kill();
    broker.restart();
    wire.release();
    site.wait_for_hello(&agent);
    site.wait_for_state("pi-kitchen", "1.0.0", "running", &agent);

    let (down, most) = (wire.down(), module_bytes + module_bytes / 20);
    assert!(down <= most, "{down} bytes came down for a module of {module_bytes}\n{}", agent.log());
    assert!(depot.log().contains("published again: 1 root, hello 1.0.0, plan 1"), "{}", depot.log());
    depot.terminate();
}

/// A broker without retained messages: with a depot, a board that comes later gets everything.
pub(crate) fn a_broker_that_keeps_nothing_is_coped_with() {
    let broker = Mosquitto::start_with("retain_available false\n");
    let site = Site::new(&broker);
    let kitchen = site.agent_config("pi-kitchen", "kitchen");
    site.release("1.0.0");
    let deployed = site.try_ctl(&["deploy", "hello"]);
    let said = String::from_utf8_lossy(&deployed.stderr);
    assert!(deployed.status.success() && said.contains("keeps no retained messages"), "{said}");

    let depot = site.depot();
    let mut agent = Agent::start(&kitchen);
    site.wait_for_hello(&agent);
    assert!(agent.log().contains("this broker keeps no retained messages"), "{}", agent.log());
    assert!(depot.log().contains("which retains nothing"), "{}", depot.log());
    agent.terminate();
    depot.terminate();
}

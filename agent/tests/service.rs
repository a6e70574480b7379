//! `dunlin agent` as a service manager sees it: ready, alive, stopping.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says where")]

mod common;

use std::{
    os::unix::net::UnixDatagram,
    process::{Child, Command, Stdio},
    time::Duration,
};

use common::{Fleet, broker, sign};

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        self.0.wait().unwrap();
    }
}

/// What a service manager hears.
struct Manager(UnixDatagram);

impl Manager {
    fn hears(&self, words: &str) {
        let mut buffer = [0; 64];
        loop {
            let length = self.0.recv(&mut buffer).unwrap_or_else(|error| panic!("no {words}: {error}"));
            if &buffer[..length] == words.as_bytes() {
                return;
            }
        }
    }
}

#[tokio::test]
async fn a_service_manager_hears_that_it_is_ready_alive_and_stopping() {
    let (broker, fleet, dir) = (broker::start(), Fleet::new("flock"), tempfile::tempdir().unwrap());
    std::fs::write(dir.path().join("root.dunlin"), sign(&fleet.root, &fleet.root_key)).unwrap();
    let config = dir.path().join("agent.toml");
    let text = format!(
        "device = \"pi\"\nroot = \"root.dunlin\"\nstate = \"state\"\nbind = \"127.0.0.1\"\n[broker]\nurl = \"{}\"\n",
        broker.url
    );
    std::fs::write(&config, text).unwrap();
    let socket = dir.path().join("notify");
    let manager = Manager(UnixDatagram::bind(&socket).unwrap());
    manager.0.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
    command.args(["agent", "--config"]).arg(&config).env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "200000");
    let agent = Killed(command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    manager.hears("READY=1");
    manager.hears("WATCHDOG=1");
    manager.hears("WATCHDOG=1");
    let pid = rustix::process::Pid::from_child(&agent.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    manager.hears("STOPPING=1");
}

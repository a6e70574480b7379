//! `dunlin agent` as a service manager sees it: ready, alive, stopping, on the sockets that it was given.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says where")]

mod common;

use std::{
    net::TcpListener,
    os::{fd::OwnedFd, unix::net::UnixDatagram},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use common::{Fleet, LIMIT, Operator, broker, device, free_port, get, release, sign};
use dunlin::link;
use dunlin_core::wire::state::Phase;
use dunlin_guests::HELLO;

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

/// A board's configuration in this folder, as a file.
fn configure(dir: &Path, fleet: &Fleet, broker: &link::Broker) -> PathBuf {
    std::fs::write(dir.join("root.dunlin"), sign(&fleet.root, &fleet.root_key)).unwrap();
    let config = dir.join("agent.toml");
    let text = format!(
        "device = \"{}\"\nroot = \"root.dunlin\"\nstate = \"state\"\nbind = \"127.0.0.1\"\n[broker]\nurl = \"{}\"\n",
        device(),
        broker.url
    );
    std::fs::write(&config, text).unwrap();
    config
}

#[tokio::test]
async fn a_service_manager_hears_that_it_is_ready_alive_and_stopping() {
    let (broker, fleet, dir) = (broker::start(), Fleet::new("flock"), tempfile::tempdir().unwrap());
    let config = configure(dir.path(), &fleet, &broker);
    let socket = dir.path().join("notify");
    let manager = Manager(UnixDatagram::bind(&socket).unwrap());
    manager.0.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
    command.args(["agent", "--config"]).arg(&config).env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "200000");
    let agent = Killed(command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    manager.hears("READY=1");
    manager.hears("WATCHDOG=1");
    manager.hears("WATCHDOG=1");
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.0.id())).unwrap();
    assert!(status.contains("THP_enabled:\t0"), "no page of it is a huge one: {status}");
    let pid = rustix::process::Pid::from_child(&agent.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    manager.hears("STOPPING=1");
}

#[tokio::test]
async fn a_board_runs_while_its_front_door_has_no_certificate_and_opens_it_when_it_has() {
    let (broker, fleet, dir) = (broker::start(), Fleet::new("flock"), tempfile::tempdir().unwrap());
    let config = configure(dir.path(), &fleet, &broker);
    let (front, socket) = (free_port(), dir.path().join("notify"));
    let mut text = std::fs::read_to_string(&config).unwrap();
    text += &format!("[front]\nlisten = \"127.0.0.1:{front}\"\ncertificate = \"front.pem\"\nkey = \"front.key\"\n");
    std::fs::write(&config, text).unwrap();
    let manager = Manager(UnixDatagram::bind(&socket).unwrap());
    manager.0.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
    command.args(["agent", "--config"]).arg(&config).env("NOTIFY_SOCKET", &socket);
    let _agent = Killed(command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    manager.hears("READY=1");

    let pair = rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
    std::fs::write(dir.path().join("front.key"), pair.signing_key.serialize_pem()).unwrap();
    std::fs::write(dir.path().join("front.pem"), pair.cert.pem()).unwrap();
    let tls = link::Tls { ca: Some(dir.path().join("front.pem")), client: None }.client_config().unwrap();
    let connector = tokio_rustls::TlsConnector::from(tls);
    // Not before it can speak TLS: a door that had opened without would not let this client in.
    let open = async {
        loop {
            if let Ok(stream) = tokio::net::TcpStream::connect(("127.0.0.1", front)).await
                && connector.connect("localhost".try_into().unwrap(), stream).await.is_ok()
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, open).await.expect("the front door opens");
}

#[tokio::test]
async fn a_port_that_the_service_manager_opened_is_published_by_one_app_after_another() {
    let (broker, fleet, dir) = (broker::start(), Fleet::new("flock"), tempfile::tempdir().unwrap());
    let config = configure(dir.path(), &fleet, &broker);
    // As sd_listen_fds(3) says: from descriptor 3, for the process of this id. While we hold the
    // port too, the agent could not open it by itself.
    let passed = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = passed.local_addr().unwrap().port();
    let line = "export LISTEN_PID=$$; exec \"$0\" agent --config \"$1\" 3<&0 </dev/null";
    let mut command = Command::new("sh");
    command.args(["-c", line, env!("CARGO_BIN_EXE_dunlin")]).arg(&config).env("LISTEN_FDS", "1");
    let stdin = Stdio::from(OwnedFd::from(passed.try_clone().unwrap()));
    let _agent = Killed(command.stdin(stdin).stderr(Stdio::null()).spawn().unwrap());

    let mut operator = Operator::connect(&fleet, &broker).await;
    for (sequence, app) in [(1, "one"), (2, "another")] {
        let release = release(app, 1, HELLO.bytes, Some(port));
        operator.release(&fleet, &release, HELLO.bytes).await;
        operator.plan(&fleet, &fleet.plan(sequence, &[&release])).await;
        operator
            .state("it runs", |state| state.apps.iter().any(|a| a.app == release.app && a.phase == Phase::Running))
            .await;
        assert!(get(port).await.ends_with("Hello, WASM!"));
    }
}

//! The broker: a mosquitto of our own on a free port of loopback.

#[path = "../../tests/common/mosquitto.rs"]
mod found;
#[path = "../../tests/common/ports.rs"]
mod ports;

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;

/// How long it may take to listen.
const START: Duration = Duration::from_secs(10);

/// Beside what README gives for a fleet's broker, less TLS and less what is kept on a disk:
/// - one subscription to every board's state gets one message a board at once, and mosquitto drops what is above its
///   queue of 1,000;
/// - it counts what it does once a second, instead of every ten.
const CONFIG: &str = "allow_anonymous true
set_tcp_nodelay true
persistence false
max_queued_messages 0
sys_interval 1
log_type none
";

/// A broker as a process. Dropped, it is ended.
#[derive(Debug)]
pub(crate) struct Mosquitto {
    process: Child,
    address: SocketAddr,
    _dir: TempDir,
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Mosquitto {
    /// Starts one, and waits until it listens.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let program = found::program().context("mosquitto is not installed (Debian: apt install mosquitto)")?;
        let dir = tempfile::tempdir().context("cannot make a folder for the broker")?;
        let port = ports::free_port();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let config = dir.path().join("mosquitto.conf");
        // Started by root, it would become a user who can't read its own folder.
        let user = if rustix::process::geteuid().is_root() { "user root\n" } else { "" };
        fs::write(&config, format!("listener {port} {}\n{CONFIG}{user}", Ipv4Addr::LOCALHOST))
            .with_context(|| format!("cannot write {}", config.display()))?;
        let mut command = Command::new(program);
        command.arg("-c").arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().with_context(|| format!("cannot start {program}"))?;
        let mut broker = Self { process, address, _dir: dir };
        broker.wait_until_it_listens()?;
        Ok(broker)
    }

    fn wait_until_it_listens(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START;
        while TcpStream::connect(self.address).is_err() {
            if let Some(status) = self.process.try_wait()? {
                bail!("mosquitto ended at once ({status})");
            }
            ensure!(Instant::now() < deadline, "mosquitto does not listen within {START:?}");
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }
}

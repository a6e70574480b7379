//! A fleet's operator and a board, as processes.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use dunlin::link;
use serde_json::Value;
use tempfile::TempDir;

use crate::{broker::Mosquitto, ports::free_port};

pub(crate) const FLEET: &str = "flock";

/// By how much a module with a section of no bytes is larger than one that is empty.
pub(crate) const LARGER_BY: usize = dunlin_guests::HELLO.bytes.len() + 6;

/// Variables with which cargo tells a test about its own package.
const ABOUT_US: [&str; 5] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];

/// Waits for something to be so, for at most this long.
pub(crate) fn eventually(what: &str, limit: Duration, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !so() {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

pub(crate) fn terminate(process: &Child) {
    let pid = rustix::process::Pid::from_child(process);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
}

/// The operator's tool of this workspace, built if it isn't.
fn dunlinctl() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.args(["build", "--package", "dunlinctl", "--bin", "dunlinctl", "--message-format", "json"]);
        // What cargo says of this test is not about that build, and would make it begin anew.
        for (name, _) in std::env::vars().filter(|(name, _)| ABOUT_US.iter().any(|prefix| name.starts_with(prefix))) {
            build.env_remove(name);
        }
        let output = build.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let messages =
            output.stdout.split(|byte| *byte == b'\n').filter_map(|l| serde_json::from_slice::<Value>(l).ok());
        let mut executables = messages.filter_map(|message| Some(message["executable"].as_str()?.into()));
        executables.next().expect("cargo says where it put the binary")
    })
}

pub(crate) struct Site {
    dir: TempDir,
    broker_files: PathBuf,
    port: u16,
    http: u16,
}

impl Site {
    /// A new fleet, made by its operator.
    pub(crate) fn new(broker: &Mosquitto) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let http = free_port();
        let broker_files = broker.file("").clone();
        let site = Self { dir, broker_files, port: broker.port(), http };
        let url = format!("mqtts://localhost:{}", site.port);
        let file = |name: &str| broker.file(name).display().to_string();
        let made = Command::new(dunlinctl())
            .current_dir(site.dir.path())
            .args(["init", FLEET, "--broker", &url, "--ca", &file("ca.pem")])
            .args(["--certificate", &file("operator.pem"), "--key", &file("operator.key")])
            .args(["--user", "operator", "--password-file", &file("operator.password")])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        site
    }

    fn fleet(&self) -> PathBuf {
        self.dir.path().join(FLEET)
    }

    /// A board's configuration; the file's path.
    pub(crate) fn agent_config(&self, device: &str, site: &str) -> PathBuf {
        self.agent_config_at(device, site, self.port)
    }

    /// The same, with a broker on this port.
    pub(crate) fn agent_config_at(&self, device: &str, site: &str, port: u16) -> PathBuf {
        let dir = self.dir.path().join(device);
        fs::create_dir(&dir).unwrap();
        fs::copy(self.fleet().join("root.dunlin"), dir.join("root.dunlin")).unwrap();
        fs::copy(self.broker_files.join(device).with_extension("password"), dir.join("password")).unwrap();
        let config = format!(
            "device = \"{device}\"\n\
             root = \"root.dunlin\"\n\
             state = \"state\"\n\
             bind = \"127.0.0.1\"\n\
             \n\
             [labels]\n\
             site = \"{site}\"\n\
             \n\
             [broker]\n\
             url = \"mqtts://localhost:{port}\"\n\
             ca = \"{files}/ca.pem\"\n\
             certificate = \"{files}/{device}.pem\"\n\
             key = \"{files}/{device}.key\"\n\
             user = \"{device}\"\n\
             password_file = \"password\"\n",
            files = self.broker_files.display(),
        );
        let path = dir.join("agent.toml");
        fs::write(&path, config).unwrap();
        let checked =
            Command::new(env!("CARGO_BIN_EXE_dunlin")).args(["check", "--config"]).arg(&path).output().unwrap();
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
        path
    }

    /// The same fleet as seen by somebody without a certificate.
    pub(crate) fn fleet_without_certificate(&self) -> PathBuf {
        let fleet = self.dir.path().join("without-certificate");
        fs::create_dir(&fleet).unwrap();
        fs::copy(self.fleet().join("root.dunlin"), fleet.join("root.dunlin")).unwrap();
        let text = fs::read_to_string(self.fleet().join("fleet.toml")).unwrap();
        let lines = text.lines().filter(|l| !l.starts_with("certificate") && !l.starts_with("key"));
        fs::write(fleet.join("fleet.toml"), lines.collect::<Vec<_>>().join("\n")).unwrap();
        fleet
    }

    /// Releases `guests/hello` as this version.
    pub(crate) fn release(&self, version: &str) {
        self.release_module(version, dunlin_guests::HELLO.path);
    }

    /// The same, with a custom section of this length; the module.
    pub(crate) fn release_large(&self, version: &str, bytes: usize) -> Vec<u8> {
        let path = self.dir.path().join("large.wasm");
        let module = [dunlin_guests::HELLO.bytes, &custom_section(bytes)].concat();
        fs::write(&path, &module).unwrap();
        self.release_module(version, path.to_str().unwrap());
        module
    }

    /// The broker, as the operator reaches it.
    pub(crate) fn broker(&self) -> link::Broker {
        let file = |name: &str| self.broker_files.join(name);
        link::Broker {
            url: format!("mqtts://localhost:{}", self.port).parse().unwrap(),
            tls: link::Tls { ca: Some(file("ca.pem")), client: Some((file("operator.pem"), file("operator.key"))) },
            credentials: Some(link::Credentials {
                user: "operator".into(),
                password: fs::read_to_string(file("operator.password")).unwrap(),
            }),
            keep_alive: Duration::from_secs(30),
        }
    }

    fn release_module(&self, version: &str, module: &str) {
        let app = self.dir.path().join("app.toml");
        let text = format!(
            "name = \"hello\"\nversion = \"{version}\"\nmodule = {module:?}\npublish = [\"{http}:7878\"]\n\
             memory = \"2MiB\"\n\n[health]\nhttp = \"/\"\nport = 7878\n",
            http = self.http,
        );
        fs::write(&app, text).unwrap();
        self.ctl(&["release", app.to_str().unwrap()]);
    }

    /// The operator's tool, on this fleet; what it printed.
    pub(crate) fn ctl(&self, args: &[&str]) -> String {
        let output = self.try_ctl(args);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "dunlinctl {args:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn try_ctl(&self, args: &[&str]) -> Output {
        Command::new(dunlinctl()).env("DUNLIN_FLEET", self.fleet()).args(args).output().unwrap()
    }

    /// `dunlinctl depot` for this fleet.
    pub(crate) fn depot(&self) -> Depot {
        let log = self.dir.path().join("depot.log");
        let mut command = Command::new(dunlinctl());
        command.env("DUNLIN_FLEET", self.fleet()).arg("depot").stdin(Stdio::null());
        command.stdout(fs::File::create(&log).unwrap());
        let depot = Depot { process: command.spawn().unwrap(), log };
        eventually("the depot is connected", Duration::from_secs(60), || depot.log().contains("connected to"));
        depot
    }

    /// What the fleet's devices say of themselves.
    pub(crate) fn status(&self) -> Vec<Value> {
        serde_json::from_str(&self.ctl(&["status", "--json"])).unwrap()
    }

    pub(crate) fn wait_for_state(&self, device: &str, version: &str, phase: &str, agent: &Agent) {
        let limit = Duration::from_secs(60);
        let mut last = Vec::new();
        let deadline = Instant::now() + limit;
        loop {
            let found = last.iter().any(|state: &Value| {
                let app = &state["apps"][0];
                state["device"] == device
                    && state["online"] == true
                    && app["version"] == version
                    && app["phase"] == phase
            });
            if found {
                return;
            }
            assert!(Instant::now() < deadline, "{device} is not {phase} with {version}: {last:?}\n{}", agent.log());
            last = self.status();
        }
    }

    pub(crate) fn wait_for_hello(&self, agent: &Agent) {
        let deadline = Instant::now() + Duration::from_secs(120);
        while !self.hello().is_some_and(|answer| answer.ends_with("Hello, WASM!")) {
            assert!(Instant::now() < deadline, "hello does not answer\n{}", agent.log());
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn hello(&self) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.http)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }
}

/// A custom section of this length, in which no chunk is like another.
fn custom_section(bytes: usize) -> Vec<u8> {
    let mut section = vec![0];
    // Its length has five bytes, whatever it is, and its name one.
    let length = bytes as u32;
    section.extend((0..5).map(|byte| (length >> (7 * byte)) as u8 & 0x7f | if byte < 4 { 0x80 } else { 0 }));
    section.extend([1, b'x']);
    section.extend((2..length).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8));
    section
}

/// `dunlinctl depot`, as a process.
pub(crate) struct Depot {
    process: Child,
    log: PathBuf,
}

impl Drop for Depot {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.process.kill();
        self.process.wait().unwrap();
    }
}

impl Depot {
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// SIGTERM; it ends well.
    pub(crate) fn terminate(mut self) {
        terminate(&self.process);
        let status = self.process.wait().unwrap();
        assert!(status.success(), "{status}\n{}", self.log());
    }
}

/// `dunlin agent`, as a process.
pub(crate) struct Agent {
    process: Child,
    log: PathBuf,
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Agent {
    pub(crate) fn start(config: &Path) -> Self {
        let log = config.with_extension("log");
        let file = fs::File::create(&log).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
        command.args(["agent", "--config"]).arg(config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        Self { process: command.spawn().unwrap(), log }
    }

    /// SIGKILL, as a power cut would.
    pub(crate) fn kill(&mut self) {
        // It may be gone already.
        let _ = self.process.kill();
        self.process.wait().unwrap();
    }

    /// SIGTERM, as systemd does; it ends well and soon.
    pub(crate) fn terminate(&mut self) {
        terminate(&self.process);
        let mut ended = None;
        eventually("the agent ends", Duration::from_secs(60), || {
            ended = self.process.try_wait().unwrap();
            ended.is_some()
        });
        assert!(ended.is_some_and(|status| status.success()), "{ended:?}\n{}", self.log());
    }

    /// The most memory that it had so far.
    pub(crate) fn peak_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse().unwrap()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) fn wait_for_log(&self, words: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.log().contains(words) {
            assert!(Instant::now() < deadline, "it does not say {words:?}:\n{}", self.log());
            thread::sleep(Duration::from_millis(50));
        }
    }
}

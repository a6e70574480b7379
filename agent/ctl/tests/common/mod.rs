//! A world to run the real `dunlinctl` in: a folder, an embedded broker, and what is retained there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helpers fail the test")]
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

pub mod board;
#[path = "../../../tests/common/ports.rs"]
mod ports;

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use dunlin::link::{Broker, Event, Link, Tls};
use dunlin_core::{
    trust::{self, Accepted, Verified},
    wire::{AppName, Digest, Plan, Release, ReleaseRef, Root, Topic, Topics, state::DeviceState},
};
pub(crate) use ports::free_port;
use rumqttd::{Config, ConnectionSettings, RouterConfig, ServerSettings};

/// Longer than anything here may take on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(60);

/// How long no message must come before there is none.
const QUIET: Duration = Duration::from_millis(500);

/// A folder with a fleet called `flock`, and its broker.
pub struct World {
    dir: tempfile::TempDir,
    pub port: u16,
}

/// What a run of the program left.
#[derive(Debug)]
pub struct Run {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl World {
    /// A fleet, just made.
    pub fn new() -> Self {
        let world = Self::without_fleet();
        let url = format!("mqtt://127.0.0.1:{}", world.port);
        world.ok(&["init", "flock", "--broker", &url]);
        world
    }

    /// A broker and an empty folder.
    pub fn without_fleet() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), port: start_broker() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A file of the fleet's folder.
    pub fn fleet(&self, name: &str) -> PathBuf {
        self.path("flock").join(name)
    }

    /// Another operator's machine: a copy of the fleet's folder, without what only this one knows of plans.
    pub fn other_folder(&self) -> PathBuf {
        let copy = self.path("other");
        for file in files_below(&self.path("flock")) {
            let name = file.strip_prefix(self.path("flock")).unwrap().to_owned();
            if !name.starts_with("plans") && name != Path::new("plan.dunlin") {
                fs::create_dir_all(copy.join(&name).parent().unwrap()).unwrap();
                fs::copy(&file, copy.join(&name)).unwrap();
            }
        }
        copy
    }

    /// The program, to be run in this world with these arguments.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dunlinctl"));
        command.args(args).current_dir(self.dir.path()).stdin(Stdio::null());
        for variable in ["DUNLIN_FLEET", "DUNLIN_LOG", "CLICOLOR_FORCE", "RUST_BACKTRACE"] {
            command.env_remove(variable);
        }
        let fleet = self.path("flock");
        if fleet.exists() {
            command.env("DUNLIN_FLEET", fleet);
        }
        command
    }

    pub fn run(&self, args: &[&str]) -> Run {
        Run::from(self.command(args).output().unwrap())
    }

    /// Runs it; it must do what it was asked for.
    pub fn ok(&self, args: &[&str]) -> Run {
        let run = self.run(args);
        assert_eq!(run.code, 0, "{args:?}: {}{}", run.out, run.err);
        run
    }

    /// Runs it; it must fail with this exit code.
    pub fn fails(&self, code: i32, args: &[&str]) -> String {
        let run = self.run(args);
        assert_eq!(run.code, code, "{args:?}: {}{}", run.out, run.err);
        assert!(run.err.contains("error: "), "{args:?}: {}", run.err);
        run.err
    }

    /// Runs it with `--json`; its output is one JSON value.
    pub fn json(&self, args: &[&str]) -> serde_json::Value {
        let run = self.ok(args);
        serde_json::from_str(&run.out).unwrap_or_else(|error| panic!("{args:?}: {error}: {}", run.out))
    }

    /// An app's folder with `app.toml` and a module; answers with the path of the former.
    pub fn app(&self, name: &str, version: &str, more: &str, wat: &str) -> String {
        let dir = self.path(name);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("app.wasm"), wat::parse_str(wat).unwrap()).unwrap();
        let toml = format!("name = \"{name}\"\nversion = \"{version}\"\nmodule = \"app.wasm\"\n{more}");
        fs::write(dir.join("app.toml"), toml).unwrap();
        dir.join("app.toml").to_str().unwrap().to_owned()
    }

    /// Releases an app that ends at once, with so many bytes in its module that do nothing.
    pub fn release_large(&self, name: &str, bytes: usize) {
        let file = self.app(name, "1.0.0", "restart = \"never\"\n", &module(name));
        let path = self.path(name).join("app.wasm");
        let mut wasm = fs::read(&path).unwrap();
        wasm.extend(custom_section(bytes));
        fs::write(path, wasm).unwrap();
        self.ok(&["release", &file]);
    }

    /// Releases an app that does nothing; its version is in its bytes.
    pub fn release(&self, name: &str, version: &str, more: &str) {
        let file = self.app(name, version, more, &module(version));
        self.ok(&["release", &file]);
    }

    /// A new, empty broker in the place of the old one, which lost everything.
    pub fn lose_broker(&mut self) {
        let old = self.port;
        self.port = start_broker();
        let file = self.fleet("fleet.toml");
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(&format!(":{old}\"")), "{text}");
        fs::write(file, text.replace(&format!(":{old}\""), &format!(":{}\"", self.port))).unwrap();
    }

    pub fn topics(&self) -> Topics {
        Topics::new("dunlin/v1", &"flock".parse().unwrap())
    }

    pub fn root(&self) -> Verified<Root> {
        trust::first_root(&fs::read(self.fleet("root.dunlin")).unwrap()).unwrap()
    }

    /// The retained messages on these topics.
    pub fn retained(&self, topics: &[Topic]) -> BTreeMap<Topic, Vec<u8>> {
        let names: Vec<_> = topics.iter().map(|topic| self.topics().format(topic)).collect();
        let mut found = fetch(self.port, &names);
        topics.iter().zip(names).filter_map(|(topic, name)| Some((topic.clone(), found.remove(&name)?))).collect()
    }

    /// The plan at the broker, as a board that has none yet takes it.
    pub fn plan(&self) -> Verified<Plan> {
        let bytes = self.retained(&[Topic::Plan]).remove(&Topic::Plan).expect("there is a plan");
        match trust::accept_plan(&self.root(), None, &bytes, now()).unwrap() {
            Accepted::New(plan) => plan,
            Accepted::Same => panic!("there was none before"),
        }
    }

    /// The release at the broker, and its module, put together and checked as a board does it.
    pub fn fetched(&self, app: &str, order: &ReleaseRef) -> (Verified<Release>, Vec<u8>) {
        let app: AppName = app.parse().unwrap();
        let topic = Topic::Release(order.digest);
        let bytes = self.retained(std::slice::from_ref(&topic)).remove(&topic).expect("the release is there");
        let release = trust::verify_release(&self.root(), &app, order, &bytes).unwrap();
        let chunks: Vec<_> = (0..release.module.count()).map(|i| Topic::Blob(release.module.sha256, i)).collect();
        let found = self.retained(&chunks);
        let mut module = Vec::new();
        for (index, topic) in chunks.iter().enumerate() {
            trust::check_chunk(&release.module, index as u32, &found[topic]).unwrap();
            module.extend_from_slice(&found[topic]);
        }
        trust::check_module(&release.module, module.len() as u64, Digest::of(&module)).unwrap();
        (release, module)
    }

    /// What each assignment of the plan says: app, version's counter, selector, paused.
    pub fn assignments(&self) -> Vec<String> {
        let plan = self.plan();
        let to = |a: &dunlin_core::wire::Assignment| format!("{:?}", a.to.0.len());
        plan.assignments.iter().map(|a| format!("{} {} {} {}", a.app, a.release.counter, to(a), a.paused)).collect()
    }

    /// Says what a device would say.
    pub fn device(&self, id: &str, online: bool, state: Option<&DeviceState>) {
        let topics = self.topics();
        let device: dunlin_core::wire::DeviceId = id.parse().unwrap();
        let mut messages =
            vec![(topics.format(&Topic::Online(device.clone())), if online { b"1".to_vec() } else { b"0".to_vec() })];
        if let Some(state) = state {
            messages.push((topics.format(&Topic::State(device)), serde_json::to_vec(state).unwrap()));
        }
        publish(self.port, &messages);
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().expect("it was not killed"),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// A program that runs on; killed when it is dropped.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// Interrupts it as Ctrl-C does, and answers with its exit code and how long that took.
    pub fn interrupt(&mut self) -> (i32, Duration) {
        let pid = rustix::process::Pid::from_child(&self.0);
        let at = Instant::now();
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        let status = self.0.wait().unwrap();
        (status.code().expect("it ends by itself"), at.elapsed())
    }
}

/// A module that does nothing, with a text in it that makes it unlike others.
pub fn module(text: &str) -> String {
    format!("(module (memory (export \"memory\") 3) (data (i32.const 0) \"{text}\") (func (export \"_start\")))")
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

pub fn now() -> dunlin_core::wire::Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    dunlin_core::wire::Timestamp(since.as_secs())
}

/// Waits for this to be there, by looking again and again.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {LIMIT:?}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// rumqttd, until the test's process ends. Answers with its port.
fn start_broker() -> u16 {
    let port = free_port();
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let connections = ConnectionSettings {
        connection_timeout_ms: 5_000,
        max_payload_size: 128 * 1024,
        max_inflight_count: 100,
        auth: None,
        external_auth: None,
        dynamic_filters: true,
    };
    let server = ServerSettings { name: "test".into(), listen, tls: None, next_connection_delay_ms: 0, connections };
    let config = Config {
        router: RouterConfig {
            max_connections: 64,
            max_outgoing_packet_count: 200,
            max_segment_size: 1024 * 1024,
            max_segment_count: 4,
            ..RouterConfig::default()
        },
        v5: Some(HashMap::from([("1".into(), server)])),
        ..Config::default()
    };
    thread::spawn(move || drop(rumqttd::Broker::new(config).start()));
    eventually("the broker listens", || TcpStream::connect(listen).ok());
    port
}

/// Somebody with a connection to the broker on this port.
pub fn link(port: u16) -> Link {
    Link::new(broker(port), format!("test-{:x}", getrandom::u32().unwrap()), None)
}

/// The broker on this port.
pub fn broker(port: u16) -> Broker {
    let url = format!("mqtt://127.0.0.1:{port}").parse().unwrap();
    Broker { url, tls: Tls::default(), credentials: None, keep_alive: Duration::from_secs(30) }
}

/// Runs this to its end, within the limit.
pub fn wait_for<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(LIMIT, future).await.expect("within the limit") })
}

fn fetch(port: u16, topics: &[String]) -> BTreeMap<String, Vec<u8>> {
    wait_for(async {
        let (mut link, mut found, mut answered) = (link(port), BTreeMap::new(), 0);
        while found.len() < topics.len() {
            let patience = if answered == topics.len() { QUIET } else { LIMIT };
            let Ok(event) = tokio::time::timeout(patience, link.next()).await else { break };
            match event {
                Event::Connected(_) => topics.iter().for_each(|topic| link.subscribe(topic)),
                Event::Subscribed { outcome, .. } => {
                    outcome.unwrap();
                    answered += 1;
                }
                Event::Message { topic, payload } => _ = found.insert(topic, payload.to_vec()),
                event @ (Event::Disconnected { .. } | Event::Acknowledged(_) | Event::Undeliverable { .. }) => {
                    panic!("{event:?}")
                }
            }
        }
        link.close(Duration::from_secs(1)).await;
        found
    })
}

/// Publishes retained messages.
pub fn publish(port: u16, messages: &[(String, Vec<u8>)]) {
    wait_for(async {
        let mut link = link(port);
        for (topic, payload) in messages {
            link.publish(topic.clone(), payload.clone(), true);
        }
        while link.waiting() > 0 {
            link.next().await;
        }
        link.close(Duration::from_secs(1)).await;
    });
}

/// Every file below a folder.
pub fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

//! A broker, a fleet's keys and a board, all in the test's own process.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says where")]
#![allow(unreachable_pub, dead_code, reason = "each test takes what it needs of this")]

pub mod broker;
pub mod bundle;
pub mod plug;
mod ports;

use std::{collections::BTreeMap, io, net::Ipv4Addr, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use dunlin::{
    agent,
    config::Config,
    link::{self, Link},
    store::Disk,
    upgrade,
};
use dunlin_core::{
    limits,
    policy::Policy,
    wire::{
        Asks, Assignment, DeviceId, Digest, Document, Envelope, Health, Listen, Module, Plan, Protocol, PublicKey,
        Release, ReleaseRef, ReleaseRole, Restart, Role, Root, Selector, Signature, Start, Timestamp, Topic, Topics,
        World,
        state::{AppState, DeviceState, Event, What},
        topic,
    },
};
use ed25519_dalek::{Signer, SigningKey};
pub(crate) use ports::free_port;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};

/// Long enough for anything on a busy machine, and never waited for when all is well.
pub const LIMIT: Duration = Duration::from_secs(120);

const FOREVER: Timestamp = Timestamp(u64::MAX);

/// A fleet's keys.
pub struct Fleet {
    pub root_key: SigningKey,
    pub release_key: SigningKey,
    pub deploy_key: SigningKey,
    pub root: Root,
}

impl Fleet {
    pub fn new(name: &str) -> Self {
        let [root_key, release_key, deploy_key] = [1, 2, 3].map(|seed| SigningKey::from_bytes(&[seed; 32]));
        let root = Root {
            fleet: name.parse().unwrap(),
            version: 1,
            expires: FOREVER,
            root: role(&root_key),
            deploy: role(&deploy_key),
            release: vec![ReleaseRole { apps: vec![], role: role(&release_key) }],
            grant: None,
            revoked: vec![],
            floors: vec![],
        };
        Self { root_key, release_key, deploy_key, root }
    }

    /// A fleet that names who releases agents for this machine.
    pub fn with_agents(name: &str) -> Self {
        let mut fleet = Self::new(name);
        let apps = vec![agent_release(1, b"program").app];
        fleet.root.release.push(ReleaseRole { apps, role: role(&fleet.release_key) });
        fleet
    }

    pub fn topics(&self) -> Topics {
        Topics::new(topic::PREFIX, &self.root.fleet)
    }

    /// A plan that runs these releases everywhere.
    pub fn plan(&self, sequence: u64, releases: &[&Release]) -> Plan {
        Plan {
            fleet: self.root.fleet.clone(),
            sequence,
            previous: (sequence > 1).then_some(Digest([0; 32])),
            issued: Timestamp(1),
            not_after: FOREVER,
            assignments: releases.iter().map(|release| everywhere(release)).collect(),
            rollouts: Vec::new(),
        }
    }
}

/// An assignment of a release to every device.
pub fn everywhere(release: &Release) -> Assignment {
    Assignment {
        app: release.app.clone(),
        to: Selector::default(),
        release: ReleaseRef { digest: Envelope::unsigned(release).digest(), counter: release.counter },
        paused: false,
        env: vec![],
        secrets: Vec::new(),
        args: None,
        publish: None,
    }
}

/// A release of a module that listens on 7878, published on this port.
pub fn release(app: &str, counter: u64, module: &[u8], port: Option<u16>) -> Release {
    Release {
        app: app.parse().unwrap(),
        counter,
        version: format!("{counter}.0.0").parse().unwrap(),
        module: Module::describe(module, limits::CHUNK_BYTES_MIN * 8),
        world: World::Preview1,
        asks: Asks {
            listen: vec![Listen { guest: 7878, host: port, protocol: Protocol::Tcp, nonblocking: false }],
            memory_bytes: 4 << 20,
            ..Asks::default()
        },
        health: Health::default(),
        restart: Restart::Always,
        start: Start::AtOnce,
        trial_ms: 300,
        drain_ms: 1_000,
        urls: vec![],
    }
}

/// A release of the agent for this machine.
pub fn agent_release(counter: u64, program: &[u8]) -> Release {
    Release {
        module: Module::describe(program, limits::CHUNK_BYTES),
        world: World::Agent,
        asks: Asks::default(),
        trial_ms: 20_000,
        ..release(&format!("dunlin-{}", upgrade::TARGET), counter, program, None)
    }
}

/// A document in its envelope, signed with one key.
pub fn sign<D: Document>(document: &D, key: &SigningKey) -> Vec<u8> {
    sign_with(document, &[key])
}

/// A document in its envelope, signed with these keys.
pub fn sign_with<D: Document>(document: &D, keys: &[&SigningKey]) -> Vec<u8> {
    let mut envelope = Envelope::unsigned(document);
    let message = envelope.message();
    let sign = |key: &&SigningKey| {
        let signature = key.sign(&message);
        let key = PublicKey(key.verifying_key().to_bytes());
        Signature { key, r: *signature.r_bytes(), s: *signature.s_bytes() }
    };
    envelope.signatures = keys.iter().map(sign).collect();
    envelope.encode()
}

/// A role of one key.
pub fn role(key: &SigningKey) -> Role {
    Role { keys: vec![PublicKey(key.verifying_key().to_bytes())], threshold: 1 }
}

/// The agent under test.
pub struct Board {
    pub state: TempDir,
    apps: mpsc::UnboundedReceiver<AppState>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

struct Apps(mpsc::UnboundedSender<AppState>);

impl agent::Watch for Apps {
    fn app(&self, state: &AppState) {
        // A test that looks elsewhere has dropped its end.
        let _ = self.0.send(state.clone());
    }
}

impl Board {
    pub fn start(fleet: &Fleet, broker: &link::Broker) -> Self {
        let state = tempfile::tempdir().unwrap();
        Self::start_in(state, fleet, broker)
    }

    pub fn start_in(state: TempDir, fleet: &Fleet, broker: &link::Broker) -> Self {
        Self::start_on(Disk::default(), state, fleet, broker)
    }

    /// On a disk of the test's own.
    pub fn start_on(disk: Disk, state: TempDir, fleet: &Fleet, broker: &link::Broker) -> Self {
        Self::start_with(disk, state, fleet, broker, |_| {})
    }

    /// With a configuration of the test's own.
    pub fn start_with(
        disk: Disk,
        state: TempDir,
        fleet: &Fleet,
        broker: &link::Broker,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let root = state.path().join("root.dunlin");
        std::fs::write(&root, sign(&fleet.root, &fleet.root_key)).unwrap();
        let mut config = Config {
            device: device(),
            labels: [("site".parse().unwrap(), "kitchen".parse().unwrap())].into(),
            state_dir: state.path().join("state"),
            root,
            broker: broker.clone(),
            http: link::Tls::default(),
            prefix: topic::PREFIX.into(),
            policy: Policy { memory_bytes_max: 8 << 20, ..Policy::default() },
            connect: None,
            directories: BTreeMap::new(),
            bind: Ipv4Addr::LOCALHOST.into(),
            door: None,
            front: None,
            home_assistant: None,
        };
        change(&mut config);
        let (stop, stopped) = oneshot::channel();
        let (watch, apps) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            let shutdown = async { stopped.await.unwrap_or(()) };
            agent::run_on(disk, config, Arc::new(Apps(watch)), shutdown).await.unwrap();
        });
        Self { state, apps, stop: Some(stop), task }
    }

    /// Waits for this agent, and no earlier one, to say this of an app.
    pub async fn app(&mut self, what: &str, matches: impl Fn(&AppState) -> bool) -> AppState {
        let found = async {
            loop {
                let state = self.apps.recv().await.expect("the agent runs");
                if matches(&state) {
                    return state;
                }
            }
        };
        timeout(LIMIT, found).await.unwrap_or_else(|_| panic!("not within {LIMIT:?}: {what}"))
    }

    /// Ends the agent and keeps its state folder.
    pub async fn stop(mut self) -> TempDir {
        self.stop.take().map(|stop| stop.send(()));
        timeout(LIMIT, &mut self.task).await.expect("the agent ends").unwrap();
        self.state
    }

    /// Ends the agent as a power cut would, and keeps its state folder.
    pub async fn kill(mut self) -> TempDir {
        self.task.abort();
        // That it was cut off is what is wanted.
        let _ = (&mut self.task).await;
        self.state
    }

    pub fn path(&self) -> &Path {
        self.state.path()
    }
}

/// What this comes to within so long; nothing if it doesn't.
pub async fn within<T>(future: impl Future<Output = T>, limit: Duration) -> Option<T> {
    timeout(limit, future).await.ok()
}

/// Waits until somebody answers on this port of loopback; what they say.
pub async fn get(port: u16) -> String {
    let ask = || async move {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        io::Result::Ok(answer)
    };
    let answer = async {
        loop {
            match ask().await {
                Ok(answer) => return answer,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    timeout(LIMIT, answer).await.expect("an answer")
}

pub fn device() -> DeviceId {
    "pi-1".parse().unwrap()
}

/// Somebody with a connection to the broker: the operator, or worse.
pub struct Operator {
    link: Link,
    topics: Topics,
}

impl Operator {
    /// Connects, and follows what the device says.
    pub async fn connect(fleet: &Fleet, broker: &link::Broker) -> Self {
        let mut operator = Self { link: Link::new(broker.clone(), "operator", None), topics: fleet.topics() };
        operator.until("a connection", |event| matches!(event, link::Event::Connected(_)).then_some(())).await;
        operator.follow(&Topic::State(device())).await;
        operator.follow(&Topic::Event(device())).await;
        operator
    }

    /// Subscribes to a topic.
    pub async fn follow(&mut self, topic: &Topic) {
        self.link.subscribe(self.topics.format(topic));
        self.until("a subscription", |e| matches!(e, link::Event::Subscribed { .. }).then_some(())).await;
    }

    /// Waits for the device to say what it misses of a module.
    pub async fn wanted(&mut self, module: Digest) -> Vec<u8> {
        let want = self.topics.format(&Topic::Want(module));
        self.until("what is wanted", |event| {
            let link::Event::Message { topic, payload } = event else { return None };
            (*topic == want).then(|| payload.to_vec())
        })
        .await
    }

    /// Waits for a message on a topic that is followed.
    pub async fn message(&mut self, what: &str, topic: &Topic, mut matches: impl FnMut(&[u8]) -> bool) {
        let wanted = self.topics.format(topic);
        self.until(what, |event| {
            let link::Event::Message { topic, payload } = event else { return None };
            (*topic == wanted && matches(payload)).then_some(())
        })
        .await;
    }

    /// Publishes under one of the fleet's topics, retained, and waits until the broker has it.
    pub async fn publish(&mut self, topic: &Topic, payload: impl Into<Bytes>) {
        let receipt = self.link.publish(self.topics.format(topic), payload, true);
        let acknowledged = |event: &link::Event| matches!(event, link::Event::Acknowledged(r) if *r == receipt);
        self.until("an acknowledgement", |event| acknowledged(event).then_some(())).await;
    }

    /// Publishes a release, signed, and its module's chunks.
    pub async fn release(&mut self, fleet: &Fleet, release: &Release, module: &[u8]) {
        self.chunks(release, module).await;
        self.release_envelope(fleet, release).await;
    }

    pub async fn release_envelope(&mut self, fleet: &Fleet, release: &Release) {
        let envelope = sign(release, &fleet.release_key);
        self.publish(&Topic::Release(Envelope::unsigned(release).digest()), envelope).await;
    }

    pub async fn chunks(&mut self, release: &Release, module: &[u8]) {
        for index in 0..release.module.count() {
            self.chunk(release, module, index).await;
        }
    }

    pub async fn chunk(&mut self, release: &Release, module: &[u8], index: u32) {
        let (offset, length) = release.module.range(index).unwrap();
        let bytes = &module[offset as usize..][..length];
        self.publish(&Topic::Blob(release.module.sha256, index), bytes.to_vec()).await;
    }

    pub async fn plan(&mut self, fleet: &Fleet, plan: &Plan) {
        self.publish(&Topic::Plan, sign(plan, &fleet.deploy_key)).await;
    }

    /// Waits for a state of the device.
    pub async fn state(&mut self, what: &str, matches: impl Fn(&DeviceState) -> bool) -> DeviceState {
        let state = self.topics.format(&Topic::State(device()));
        self.until(what, |event| {
            let link::Event::Message { topic, payload } = event else { return None };
            let parsed: DeviceState = (*topic == state).then(|| serde_json::from_slice(payload).unwrap())?;
            matches(&parsed).then_some(parsed)
        })
        .await
    }

    /// Waits for the device to refuse something; the refusal's code.
    pub async fn refusal(&mut self) -> String {
        let event = self.topics.format(&Topic::Event(device()));
        self.until("a refusal", |happened| {
            let link::Event::Message { topic, payload } = happened else { return None };
            let parsed: Event = (*topic == event).then(|| serde_json::from_slice(payload).unwrap())?;
            match parsed.what {
                What::Refused { code, .. } => Some(code),
                What::Accepted { .. } | What::Root { .. } | What::App { .. } => None,
            }
        })
        .await
    }

    async fn until<T>(&mut self, what: &str, mut matches: impl FnMut(&link::Event) -> Option<T>) -> T {
        let found = async {
            loop {
                if let Some(found) = matches(&self.link.next().await) {
                    return found;
                }
            }
        };
        timeout(LIMIT, found).await.unwrap_or_else(|_| panic!("not within {LIMIT:?}: {what}"))
    }
}

//! A board that runs `hello` behind a broker that may turn hostile, and somebody who asks it all the time.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;

use dunlin_core::wire::{
    Digest, Envelope, Plan, Release, Topic,
    state::{DeviceState, Phase},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
    time::{interval, timeout},
};

use crate::{
    common::{Board, Fleet, LIMIT, Operator, broker, free_port, release, sign},
    proxy::Proxy,
};

pub struct Scene {
    pub fleet: Fleet,
    pub proxy: Proxy,
    pub board: Board,
    pub operator: Operator,
    pub hello: Release,
    pub port: u16,
    asker: Option<Asker>,
}

/// The guest with a custom section at its end: it does the same, and its digest is another.
pub fn module(number: u8) -> Vec<u8> {
    [dunlin_guests::HELLO.bytes, &[0, 2, 1, number]].concat()
}

impl Scene {
    pub async fn new() -> Self {
        Self::with_keep_alive(Duration::from_secs(30)).await
    }

    pub async fn with_keep_alive(keep_alive: Duration) -> Self {
        let (mut behind, fleet, port) = (broker::start(), Fleet::new("flock"), free_port());
        behind.keep_alive = keep_alive;
        let proxy = Proxy::start(&behind);
        let board = Board::start(&fleet, &proxy.broker);
        let mut operator = Operator::connect(&fleet, &behind).await;
        let hello = release("hello", 1, &module(1), Some(port));
        operator.release(&fleet, &hello, &module(1)).await;
        operator.plan(&fleet, &fleet.plan(1, &[&hello])).await;
        operator.state("hello runs", |state| runs(state, &hello)).await;
        let asker = Some(Asker::start(port));
        Self { fleet, proxy, board, operator, hello, port, asker }
    }

    /// Version `counter` of `hello`, on the board's port.
    pub fn version(&self, counter: u8) -> Release {
        release("hello", counter.into(), &module(counter), Some(self.port))
    }

    /// The plan of this sequence, which orders that release everywhere.
    pub fn plan(&self, sequence: u64, release: &Release) -> Plan {
        self.fleet.plan(sequence, &[release])
    }

    /// Publishes version `counter` of `hello` and the plan of that sequence. What runs must go on running.
    pub async fn publish(&mut self, counter: u8) -> Release {
        let next = self.version(counter);
        self.operator.release(&self.fleet, &next, &module(counter)).await;
        let plan = self.plan(counter.into(), &next);
        self.operator.plan(&self.fleet, &plan).await;
        next
    }

    /// As [`publish`](Self::publish), and the board may obey: an update may end a connection.
    pub async fn order(&mut self, counter: u8) -> Release {
        self.rest().await;
        self.publish(counter).await
    }

    /// Waits until a release runs.
    pub async fn until_runs(&mut self, release: &Release) {
        self.operator.state("the release runs", |state| runs(state, release)).await;
        self.asker.get_or_insert_with(|| Asker::start(self.port));
        self.answers().await;
    }

    /// The board refuses something with this code, and goes on answering.
    pub async fn refuses(&mut self, code: &str) {
        assert_eq!(self.operator.refusal().await, code);
        self.answers().await;
    }

    /// Whoever asks the board is answered, and always was.
    pub async fn answers(&self) {
        let asker = self.asker.as_ref().expect("somebody asks");
        let before = asker.answered.load(Ordering::Relaxed);
        let answered = async {
            while asker.answered.load(Ordering::Relaxed) == before {
                assert!(!asker.task.is_finished(), "hello did not answer");
                tokio::task::yield_now().await;
            }
        };
        timeout(LIMIT, answered).await.expect("hello answers");
    }

    /// Nobody asks for a while; until now everybody was answered.
    pub async fn rest(&mut self) {
        if let Some(mut asker) = self.asker.take() {
            // It ends between two questions.
            drop(asker.stop.take());
            timeout(LIMIT, &mut asker.task).await.expect("the asker ends").expect("hello answered");
        }
    }

    /// The mischief is over: what the operator says from now on holds.
    pub async fn converges(&mut self, counter: u8) {
        self.proxy.end();
        let next = self.order(counter).await;
        self.until_runs(&next).await;
    }

    /// What an older whole is: the plan and the release of version `counter`, by topic.
    pub fn whole(&self, counter: u8) -> BTreeMap<String, Bytes> {
        let (topics, release) = (self.fleet.topics(), self.version(counter));
        let plan = sign(&self.plan(counter.into(), &release), &self.fleet.deploy_key);
        let envelope = sign(&release, &self.fleet.release_key);
        let release = topics.format(&Topic::Release(digest(&release)));
        [(topics.format(&Topic::Plan), plan.into()), (release, envelope.into())].into()
    }
}

/// The digest by which a plan orders a release.
pub fn digest(release: &Release) -> Digest {
    Envelope::unsigned(release).digest()
}

/// The chunks that a bitmap on `want` asks for.
pub fn missing(release: &Release, wanted: &[u8]) -> Vec<u32> {
    let asked = |index: &u32| wanted[*index as usize / 8] & (1 << (index % 8)) != 0;
    (0..release.module.count()).filter(asked).collect()
}

/// Whether a device says that it runs a release.
pub fn runs(state: &DeviceState, release: &Release) -> bool {
    state.apps.iter().any(|app| app.phase == Phase::Running && app.release == digest(release))
}

/// Asks hello a hundred times a second, and ends at the first question without an answer.
struct Asker {
    answered: Arc<AtomicUsize>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Asker {
    fn start(port: u16) -> Self {
        let (answered, (stop, mut stopped)) = (Arc::new(AtomicUsize::new(0)), oneshot::channel());
        let count = Arc::clone(&answered);
        let task = tokio::spawn(async move {
            let mut pace = interval(Duration::from_millis(10));
            loop {
                tokio::select! {
                    _ = &mut stopped => return,
                    _ = pace.tick() => {}
                }
                let answer = timeout(LIMIT, ask(port)).await.expect("an answer in time").expect("an answer");
                assert!(answer.ends_with("Hello, WASM!"), "{answer}");
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { answered, stop: Some(stop), task }
    }
}

async fn ask(port: u16) -> io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

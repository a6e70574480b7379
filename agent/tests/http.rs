//! Modules from HTTP servers that work, break off, know no Range, lie, or are not there.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says where")]

mod common;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use common::{Board, Fleet, Operator, broker, release};
use dunlin_core::wire::{Release, state::Phase};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

const MODULE: &[u8] = dunlin_guests::HELLO.bytes;

/// How a server behaves.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    /// As RFC 9110 says.
    Good,
    /// Breaks off after so many bytes of each answer.
    BreaksOff(usize),
    /// Answers every request with the whole.
    NoRange,
    /// Sends other bytes.
    Lies,
    /// Has nothing.
    Empty,
}

/// A server of one file.
struct Server {
    address: SocketAddr,
    sent: Arc<AtomicUsize>,
}

impl Server {
    async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, sent) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&sent);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let count = Arc::clone(&count);
                // A client that leaves in the middle is not the server's concern.
                tokio::spawn(async move { drop(answer(stream, manner, &count).await) });
            }
        });
        Self { address, sent }
    }

    fn url(&self) -> String {
        format!("http://{}/hello.wasm", self.address)
    }

    fn sent(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }
}

async fn answer(stream: TcpStream, manner: Manner, count: &AtomicUsize) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let (mut line, mut range) = (String::new(), None);
    while stream.read_line(&mut line).await? > 2 {
        let lower = line.to_ascii_lowercase();
        if let Some((first, last)) = lower.strip_prefix("range: bytes=").and_then(|r| r.trim().split_once('-')) {
            range = Some((first.parse::<usize>().unwrap(), last.parse::<usize>().unwrap()));
        }
        line.clear();
    }
    let (first, last) = range.filter(|_| manner != Manner::NoRange).unwrap_or((0, MODULE.len() - 1));
    let mut body = MODULE[first..=last].to_vec();
    let status = match manner {
        Manner::Empty => "404 Not Found",
        Manner::NoRange => "200 OK",
        Manner::Good | Manner::BreaksOff(_) | Manner::Lies => "206 Partial Content",
    };
    let length = body.len();
    match manner {
        Manner::BreaksOff(after) => body.truncate(after),
        Manner::Lies => body.fill(b'x'),
        Manner::Good | Manner::NoRange | Manner::Empty => {}
    }
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&body).await?;
    count.fetch_add(body.len(), Ordering::Relaxed);
    stream.shutdown().await
}

struct Scene {
    fleet: Fleet,
    operator: Operator,
    _board: Board,
}

impl Scene {
    async fn new() -> Self {
        let (broker, fleet) = (broker::start(), Fleet::new("flock"));
        let board = Board::start(&fleet, &broker);
        let operator = Operator::connect(&fleet, &broker).await;
        Self { fleet, operator, _board: board }
    }

    /// Orders a release whose module is at these URLs, and at the broker only if said so.
    async fn order(&mut self, urls: Vec<String>, at_broker: bool) {
        let hello = Release { urls, ..release("hello", 1, MODULE, None) };
        if at_broker {
            self.operator.chunks(&hello, MODULE).await;
        }
        self.operator.release_envelope(&self.fleet, &hello).await;
        self.operator.plan(&self.fleet, &self.fleet.plan(1, &[&hello])).await;
    }

    async fn runs(&mut self) {
        self.operator.state("hello runs", |s| s.apps.iter().any(|a| a.phase == Phase::Running)).await;
    }
}

#[tokio::test]
async fn a_good_server_is_enough() {
    let (mut scene, server) = (Scene::new().await, Server::start(Manner::Good).await);
    scene.order(vec![server.url()], false).await;
    scene.runs().await;
    assert_eq!(server.sent(), MODULE.len());
}

#[tokio::test]
async fn what_one_server_began_the_next_one_goes_on_with() {
    let (mut scene, good) = (Scene::new().await, Server::start(Manner::Good).await);
    // In the middle of the third chunk.
    let broken = Server::start(Manner::BreaksOff(20_000)).await;
    scene.order(vec![broken.url(), good.url()], false).await;
    scene.runs().await;
    let chunk = 8 * 1024;
    assert_eq!(good.sent(), MODULE.len() - 20_000 / chunk * chunk);
}

#[tokio::test]
async fn a_server_without_range_is_good_enough() {
    let mut scene = Scene::new().await;
    let (broken, whole) = (Server::start(Manner::BreaksOff(20_000)).await, Server::start(Manner::NoRange).await);
    scene.order(vec![broken.url(), whole.url()], false).await;
    scene.runs().await;
}

#[tokio::test]
async fn a_server_that_lies_is_refused_and_the_broker_asked() {
    let (mut scene, server) = (Scene::new().await, Server::start(Manner::Lies).await);
    scene.order(vec![server.url()], true).await;
    assert_eq!(scene.operator.refusal().await, "wrong-chunk");
    scene.runs().await;
}

#[tokio::test]
async fn servers_that_are_not_there_leave_it_to_the_broker() {
    let (mut scene, server) = (Scene::new().await, Server::start(Manner::Empty).await);
    let nobody = format!("http://127.0.0.1:{}/", common::free_port());
    scene.order(vec![nobody, server.url()], true).await;
    scene.runs().await;
}

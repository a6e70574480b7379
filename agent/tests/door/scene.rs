//! A board with its doors open.

use std::path::{Path, PathBuf};

use dunlin::{config::Config, door, link};
use dunlin_core::wire::{
    Release,
    state::{AppState, Phase},
};
use dunlin_guests::Artifact;

use tokio::{net::UnixStream, time::timeout};

use super::ask::{Answer, get, request, through};
use crate::common::{Board, Fleet, LIMIT, Operator, broker, free_port, release};

pub const TOKEN: &str = "0123456789abcdef";
pub const PASSWORD: &str = "the-brokers-password";

pub struct Scene {
    pub fleet: Fleet,
    pub broker: link::Broker,
    pub operator: Operator,
    pub board: Board,
    /// The door on loopback.
    pub door: u16,
    /// The front door.
    pub front: u16,
    releases: Vec<Release>,
    sequence: u64,
}

impl Scene {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let (mut broker, fleet) = (broker::start(), Fleet::new("flock"));
        broker.credentials = Some(link::Credentials { user: "anybody".into(), password: PASSWORD.into() });
        let (door, front) = (free_port(), free_port());
        let state = tempfile::tempdir().unwrap();
        let socket = socket(state.path());
        let mut alone = false;
        let board = Board::start_with(Default::default(), state, &fleet, &broker, |config| {
            let places = vec![tcp(door), door::Place::Unix { path: socket, mode: 0o600 }];
            config.door = Some(door::Settings { places, token: None, certificate: None });
            config.front = Some(door::FrontSettings {
                places: vec![tcp(front)],
                certificate: None,
                body_bytes_max: 1024 * 1024,
                log: false,
            });
            change(config);
            alone = config.broker.url != broker.url;
        });
        let operator = Operator::connect(&fleet, &broker).await;
        if !alone {
            connected(&self::socket(board.path())).await;
        }
        Self { fleet, broker, operator, board, door, front, releases: Vec::new(), sequence: 0 }
    }

    pub fn socket(&self) -> PathBuf {
        socket(self.board.path())
    }

    /// Deploys one more app, or the next release of one; its port.
    pub async fn deploy(&mut self, app: &str, guest: &Artifact, change: impl FnOnce(&mut Release)) -> u16 {
        self.sequence += 1;
        let port =
            self.releases.iter().find(|release| release.app.as_str() == app).and_then(port).unwrap_or_else(free_port);
        let mut release = release(app, self.sequence, guest.bytes, Some(port));
        change(&mut release);
        self.operator.release(&self.fleet, &release, guest.bytes).await;
        self.releases.retain(|other| other.app != release.app);
        self.releases.push(release);
        let plan = self.fleet.plan(self.sequence, &self.releases.iter().collect::<Vec<_>>());
        self.operator.plan(&self.fleet, &plan).await;
        port
    }

    pub async fn running(&mut self, app: &str) -> AppState {
        self.phase(app, Phase::Running).await
    }

    pub async fn phase(&mut self, app: &str, phase: Phase) -> AppState {
        self.board.app("its phase", |state| state.app.as_str() == app && state.phase == phase).await
    }

    /// Asks until the answer is such a one.
    pub async fn until(&self, path: &str, matches: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        let found = async {
            loop {
                let value = get(self.door, path).await.json();
                if matches(&value) {
                    return value;
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(LIMIT, found).await.unwrap_or_else(|_| panic!("not within {LIMIT:?}: {path}"))
    }

    pub async fn get(&self, path: &str) -> Answer {
        get(self.door, path).await
    }
}

/// Until the board has its broker. The socket asks for no token.
pub async fn connected(socket: &Path) {
    let up = async {
        loop {
            if let Ok(stream) = UnixStream::connect(socket).await {
                let answer = through(stream, request("GET", "/v1/board", "").as_bytes()).await;
                if Answer::parse(&answer).json()["link"]["up"] == true {
                    return;
                }
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, up).await.expect("a connection to the broker");
}

pub fn tcp(port: u16) -> door::Place {
    door::Place::Tcp(([127, 0, 0, 1], port).into())
}

fn port(release: &Release) -> Option<u16> {
    release.asks.listen.first()?.host
}

fn socket(state: &std::path::Path) -> PathBuf {
    state.join("door.sock")
}

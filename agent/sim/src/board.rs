//! One board: the whole agent, and what happens to it.

use std::{
    collections::BTreeMap,
    future::pending,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use dunlin::{
    agent,
    config::Config,
    link::{Broker, Tls},
    store::Disk,
};
use dunlin_core::{
    policy::Policy,
    wire::{state::Refused, topic},
};
use tokio::sync::watch;

use crate::{Settings, chance::Chance, fault::Fault, fleet, guest};

/// As a board's configuration has it where it says nothing else.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Milliseconds after a plan within which a board loses power that does.
const POWER_CUT_MS: std::ops::Range<u64> = 0..1_500;

/// Milliseconds until such a board is back.
const BOOT_MS: std::ops::Range<u64> = 500..1_500;

/// What all boards together went through.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) connections: AtomicU64,
    pub(crate) power_cuts: AtomicU64,
    pub(crate) refusals: AtomicU64,
    /// Why an agent ended, which none should.
    failure: Mutex<Option<String>>,
}

impl Seen {
    /// Why an agent ended, if one did.
    pub(crate) fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

struct Watch(Arc<Seen>);

impl agent::Watch for Watch {
    fn refused(&self, _: &Refused) {
        self.0.refusals.fetch_add(1, Ordering::Relaxed);
    }

    fn link(&self, up: Result<(), &str>) {
        if up.is_ok() {
            self.0.connections.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Where the broker is for whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lines {
    pub(crate) straight: SocketAddr,
    pub(crate) lossy: SocketAddr,
    pub(crate) slow: SocketAddr,
}

/// A board.
pub(crate) struct Board {
    number: usize,
    fault: Fault,
    config: Config,
    chance: Chance,
}

impl Board {
    /// Board `number`, with its state under this folder, where the fleet's root lies, too.
    pub(crate) fn new(number: usize, settings: &Settings, folder: &Path, lines: Lines) -> anyhow::Result<Self> {
        let fault = Fault::of(number, settings);
        let real = number < settings.real_guests as usize;
        let runs = if real { guest::HELLO } else { guest::SLEEPER };
        let broker = match fault {
            Fault::None | Fault::Rebooting => lines.straight,
            Fault::Lossy => lines.lossy,
            Fault::Slow => lines.slow,
        };
        let config = Config {
            device: fleet::device(number)?,
            labels: [(fleet::LABEL.parse()?, runs.parse()?)].into(),
            state_dir: folder.join(number.to_string()),
            root: folder.join(ROOT),
            broker: Broker {
                url: format!("mqtt://{broker}").parse()?,
                tls: Tls::default(),
                credentials: None,
                keep_alive: KEEP_ALIVE,
            },
            http: Tls::default(),
            prefix: topic::PREFIX.into(),
            policy: Policy::default(),
            connect: None,
            directories: BTreeMap::new(),
            bind: address(number),
            door: None,
            front: None,
            home_assistant: None,
        };
        Ok(Self { number, fault, config, chance: Chance::new(settings.seed, number as u64) })
    }

    /// Lives until it is dropped. `orders` changes with each plan that is published.
    pub(crate) async fn live(mut self, mut orders: watch::Receiver<u64>, seen: Arc<Seen>) {
        loop {
            // A state folder is one board's, because it bears the board's number.
            let agent =
                agent::run_on(Disk::unlocked(), self.config.clone(), Arc::new(Watch(Arc::clone(&seen))), pending());
            tokio::select! {
                ended = agent => {
                    let why = ended.err().map_or_else(|| "it ended by itself".into(), |failure| failure.to_string());
                    *seen.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(format!("board {}: {why}", self.number));
                    return;
                }
                () = self.power_cut(&mut orders) => {}
            }
            seen.power_cuts.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(self.chance.time(BOOT_MS)).await;
        }
    }

    /// Until it loses power: soon after the next plan is out, or never.
    async fn power_cut(&mut self, orders: &mut watch::Receiver<u64>) {
        if self.fault != Fault::Rebooting || orders.changed().await.is_err() {
            return pending().await;
        }
        tokio::time::sleep(self.chance.time(POWER_CUT_MS)).await;
    }
}

/// The file with the fleet's root in the folder of all boards.
pub(crate) const ROOT: &str = "root.dunlin";

/// The address on which a board publishes its apps' ports: all of them are on one machine here.
pub(crate) fn address(number: usize) -> IpAddr {
    let [.., high, middle, low] = (number as u32 + 1).to_be_bytes();
    Ipv4Addr::new(127, 16 + high, middle, low).into()
}

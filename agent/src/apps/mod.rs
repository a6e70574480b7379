//! Apps: each one a task that does what its [`Supervisor`] says.
//!
//! An app's task owns its guest: when the task goes, the guest is gone. What it may never own is
//! a published port: those are the agent's ([`Ports`]), so that a new release answers on the
//! listener of the old one.

mod board;
mod lines;
mod ports;
mod probe;

use std::{future::pending, pin::Pin, sync::Arc, time::Duration};

use dunlin_core::{
    Moment,
    policy::{self, Setup},
    reconcile::{Last, Ran},
    supervise,
    supervise::{Effect, Supervisor},
    trust::Verified,
    wire::{AppName, Probe, Protocol, Release, ReleaseRef, state::Phase},
};
use dunlin_host::{Ended, Grants, Guest, Limits, Listener, Port, PortSocket, Program, Reach};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinHandle,
    time::Instant,
};

use crate::agent::Watch;
pub(crate) use board::{Board, reach};
use lines::Lines;
pub(crate) use ports::Ports;

/// What to run.
pub(crate) struct Spec {
    pub(crate) release: Verified<Release>,
    pub(crate) ran: Ran,
    pub(crate) program: Program,
    pub(crate) setup: Setup,
    /// Whom its setup lets it connect to, understood.
    pub(crate) reach: Vec<Reach>,
}

impl Spec {
    /// What is kept of this start.
    pub(crate) fn last(&self) -> Last {
        let order = ReleaseRef { digest: self.release.digest(), counter: self.release.counter };
        Last { order, asks: self.release.asks.clone(), setup: self.setup.clone() }
    }
}

/// A running app, as the driver holds it. Dropped, it and its guest are gone.
pub(crate) struct App {
    pub(crate) ran: Ran,
    pub(crate) release: Verified<Release>,
    pub(crate) ports: Vec<(Protocol, u16)>,
    pub(crate) status: Status,
    task: JoinHandle<()>,
}

impl Drop for App {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Where an app is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) phase: Phase,
    pub(crate) why: Option<String>,
    pub(crate) failures: u32,
}

/// What an app's task tells the driver.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) app: AppName,
    /// Which run of it this is about: a report of one that was replaced means nothing.
    pub(crate) ran: Ran,
    pub(crate) status: Status,
}

/// What every app's task is given.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) ports: Ports,
    pub(crate) board: Arc<Board>,
    pub(crate) reports: mpsc::UnboundedSender<Report>,
    pub(crate) watch: Arc<dyn Watch>,
    pub(crate) clock: Clock,
}

/// The agent's own time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    pub(crate) fn now(self) -> Moment {
        Moment(self.start.elapsed().as_millis() as u64)
    }

    pub(crate) fn instant(self, moment: Moment) -> Instant {
        self.start + Duration::from_millis(moment.0)
    }
}

impl App {
    /// Starts an app's task.
    pub(crate) fn start(spec: Spec, surroundings: Surroundings) -> Self {
        let ports = spec.setup.listen.iter().filter_map(|l| Some((l.protocol, l.host?))).collect();
        let (ran, release) = (spec.ran, spec.release.clone());
        let status = Status { phase: Phase::Starting, why: None, failures: 0 };
        let task = tokio::spawn(Task::new(spec, surroundings, status.clone()).run());
        Self { ran, release, ports, status, task }
    }

    /// The board's ports that lead to it.
    pub(crate) fn ports(&self, protocol: Protocol) -> Vec<u16> {
        self.ports.iter().filter(|port| port.0 == protocol).map(|port| port.1).collect()
    }
}

type Run = Pin<Box<dyn Future<Output = supervise::Ended> + Send>>;
type Look = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

struct Task {
    spec: Spec,
    around: Surroundings,
    supervisor: Supervisor,
    reported: Status,
    /// As `setup.listen` has them.
    sockets: Vec<PortSocket>,
    guest: Option<Run>,
    accepting: Arc<Notify>,
    look: Option<Look>,
}

impl Task {
    fn new(spec: Spec, around: Surroundings, reported: Status) -> Self {
        // Only spreads restarts: without randomness they are just not spread.
        let seed = getrandom::u64().unwrap_or_default();
        let (health, restart) = (spec.setup.health.clone(), spec.setup.restart);
        let supervisor = Supervisor::new(health, restart, seed, around.clock.now());
        let (sockets, guest, look) = (Vec::new(), None, None);
        Self { spec, around, supervisor, reported, sockets, guest, accepting: Arc::default(), look }
    }

    async fn run(mut self) {
        loop {
            while let Some(effect) = self.supervisor.poll_effect() {
                self.perform(effect).await;
            }
            self.report();
            let deadline = self.supervisor.poll_timeout().map(|at| self.around.clock.instant(at));
            let timeout = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                ended = maybe(&mut self.guest) => {
                    (self.guest, self.look) = (None, None);
                    self.supervisor.handle_ended(ended, self.around.clock.now());
                }
                outcome = maybe(&mut self.look) => {
                    self.look = None;
                    self.supervisor.handle_probe(outcome, self.around.clock.now());
                }
                () = self.accepting.notified() => self.supervisor.handle_accepting(self.around.clock.now()),
                () = timeout => self.supervisor.handle_timeout(self.around.clock.now()),
            }
        }
    }

    async fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Launch => {
                if let Err(why) = self.launch().await {
                    let ended = supervise::Ended { well: false, why };
                    self.supervisor.handle_ended(ended, self.around.clock.now());
                }
            }
            Effect::Kill => (self.guest, self.look) = (None, None),
            Effect::Probe => self.look = self.probe(),
        }
    }

    async fn launch(&mut self) -> Result<(), String> {
        self.sockets.clear();
        for listen in &self.spec.setup.listen {
            let socket = self.around.ports.listen(&self.spec.release.app, listen.protocol, listen.host).await?;
            self.sockets.push(socket);
        }
        // A fresh one for each run: what an earlier run said last is not about this one.
        self.accepting = Arc::default();
        if !self.sockets.iter().any(|socket| matches!(socket, PortSocket::Tcp(_))) {
            self.accepting.notify_one();
        }
        let (program, guest) = (self.spec.program.clone(), self.guest()?);
        self.guest = Some(Box::pin(async move { ended(dunlin_host::run(&program, guest).await) }));
        Ok(())
    }

    fn guest(&self) -> Result<Guest, String> {
        let setup = &self.spec.setup;
        let app = &self.spec.release.app;
        let (mut listeners, mut bound) = (Vec::new(), Vec::new());
        for (listen, socket) in setup.listen.iter().zip(&self.sockets) {
            let (port, nonblocking) = (listen.guest, listen.nonblocking);
            match socket {
                PortSocket::Tcp(socket) => {
                    listeners.push(Listener { socket: Arc::clone(socket).into(), port, nonblocking })
                }
                PortSocket::Udp(_) => bound.push(Port { guest: port, socket: socket.clone() }),
            }
        }
        let (connect, resolve) = (self.spec.reach.clone(), setup.resolve);
        let grants = Grants { connect, within: self.around.board.within.clone(), resolve, listen: bound };
        Ok(Guest {
            args: [app.to_string()].into_iter().chain(setup.args.iter().cloned()).collect(),
            env: setup.env.iter().map(|(name, value)| (name.to_string(), value.clone())).collect(),
            directories: self.around.board.directories(app, setup)?,
            listeners,
            grants,
            limits: limits(setup.memory_bytes),
            observer: Box::new(Lines::new(
                app.clone(),
                Arc::clone(&self.around.watch),
                Arc::clone(&self.accepting),
                self.around.clock,
            )),
            ..Guest::default()
        })
    }

    /// A look at the guest; nothing if its health is that it stays up.
    fn probe(&self) -> Option<Look> {
        let setup = &self.spec.setup;
        let (port, request) = match &setup.health.probe {
            Probe::Up => return None,
            Probe::Tcp { port } => (*port, None),
            Probe::Http { port, path, status } => (*port, Some((path.clone(), *status))),
        };
        let probed = |listen: &policy::Listener| listen.guest == port && listen.protocol == Protocol::Tcp;
        let index = setup.listen.iter().position(probed)?;
        let PortSocket::Tcp(listener) = self.sockets.get(index)? else { return None };
        let address = listener.local_addr().ok()?;
        let patience = Duration::from_millis(setup.health.timeout_ms.into());
        Some(Box::pin(probe::look(address, request, patience)))
    }

    fn report(&mut self) {
        let status = Status {
            phase: self.supervisor.phase(),
            why: self.supervisor.why().map(Into::into),
            failures: self.supervisor.failures(),
        };
        if status != self.reported {
            self.reported = status.clone();
            // The driver is gone only when this task is about to be.
            let _ = self.around.reports.send(Report { app: self.spec.release.app.clone(), ran: self.spec.ran, status });
        }
    }
}

/// What a guest with this much memory may use.
pub(crate) fn limits(memory_bytes: u64) -> Limits {
    Limits { memory_bytes: usize::try_from(memory_bytes).unwrap_or(usize::MAX), ..Limits::default() }
}

async fn maybe<T>(future: &mut Option<Pin<Box<dyn Future<Output = T> + Send>>>) -> T {
    match future {
        Some(future) => future.await,
        None => pending().await,
    }
}

fn ended(ended: Ended) -> supervise::Ended {
    match ended {
        Ended::Exited(0) => supervise::Ended { well: true, why: "it exited with 0".into() },
        Ended::Exited(code) => supervise::Ended { well: false, why: format!("it exited with {code}") },
        Ended::Fault(fault) => supervise::Ended { well: false, why: fault.to_string() },
        Ended::NotStarted(error) => supervise::Ended { well: false, why: format!("it could not be started: {error}") },
    }
}

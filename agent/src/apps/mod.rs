//! Apps: each one a task that does what its [`Supervisor`](dunlin_core::supervise::Supervisor) says.
//!
//! An app's task owns its guest: when the task goes, the guest is gone. What it may never own is
//! a published port: those are the agent's ([`Ports`]), so that a new release answers on the
//! listener of the old one.

mod board;
mod doors;
mod lines;
mod load;
mod messages;
mod passed;
mod ports;
mod probe;
mod record;
mod task;

use std::{path::PathBuf, sync::Arc, time::Duration};

use dunlin_core::{
    Moment,
    policy::Setup,
    reconcile::{Last, Ran},
    trust::Verified,
    wire::{AppName, Protocol, Release, ReleaseRef, Start, TopicName, World, state::Phase},
};
use dunlin_host::{Limits, Program, Reach};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::Instant,
};

use crate::agent::Watch;
#[cfg(feature = "components")]
use crate::serve::Outbound;
pub(crate) use board::{Board, reach};
pub(crate) use load::{NotLoaded, Programs};
use messages::Messages;
pub(crate) use messages::Outgoing;
pub(crate) use ports::Ports;
pub(crate) use record::{Figures, Line, Record, Records};
use task::Task;

/// What to run. The driver, the app's task and who waits for its first connection share one.
pub(crate) struct Spec {
    pub(crate) release: Verified<Release>,
    pub(crate) ran: Ran,
    pub(crate) setup: Setup,
    /// Whom its setup lets it connect to, understood.
    pub(crate) reach: Vec<Reach>,
    /// Where its module is.
    pub(crate) path: PathBuf,
    /// Whether it has to prove itself.
    pub(crate) trial: bool,
}

impl Spec {
    /// What is kept of this start.
    pub(crate) fn last(&self) -> Last {
        let order = ReleaseRef { digest: self.release.digest(), counter: self.release.counter };
        Last { order, asks: self.release.asks.clone(), setup: self.setup.clone() }
    }
}

/// An app, as the driver holds it. Dropped, it and its guest are gone.
pub(crate) struct App {
    pub(crate) spec: Arc<Spec>,
    pub(crate) status: Status,
    /// Whether it has still to prove itself.
    pub(crate) on_trial: bool,
    messages: Messages,
    drain: Option<oneshot::Sender<()>>,
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
    /// What it printed last, if it failed.
    pub(crate) log: Vec<String>,
}

/// What an app's task tells the driver.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) app: AppName,
    /// Which run of it this is about: a report of one that was replaced means nothing.
    pub(crate) ran: Ran,
    pub(crate) said: Said,
}

/// What there is to tell.
#[derive(Debug)]
pub(crate) enum Said {
    /// Where it is.
    Status(Status),
    /// The ports are its own now: what had them before is to drain.
    Promoted,
    /// It is the good one now.
    Confirmed,
}

/// What every app's task is given.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) ports: Ports,
    pub(crate) programs: Programs,
    pub(crate) board: Arc<Board>,
    pub(crate) reports: mpsc::UnboundedSender<Report>,
    pub(crate) outgoing: mpsc::UnboundedSender<Outgoing>,
    pub(crate) watch: Arc<dyn Watch>,
    pub(crate) records: Records,
    /// Performs the requests of apps.
    #[cfg(feature = "components")]
    pub(crate) outbound: Arc<Outbound>,
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
    /// Whether it does what it is there for, and has not to prove it any more.
    pub(crate) fn is_good(&self) -> bool {
        let finished = self.status.phase == Phase::Finished && self.status.failures == 0;
        !self.on_trial && (self.status.phase == Phase::Running || finished)
    }

    /// Starts an app's task. Apart, it is given the board's ports only when it is well.
    pub(crate) fn start(spec: Arc<Spec>, program: Program, apart: bool, surroundings: Surroundings) -> Self {
        let on_trial = spec.trial;
        let asleep = !on_trial && matches!(spec.setup.start, Start::OnDemand { .. });
        let phase = if asleep { Phase::Asleep } else { Phase::Starting };
        let status = Status { phase, why: None, failures: 0, log: Vec::new() };
        let (outgoing, clock) = (surroundings.outgoing.clone(), surroundings.clock);
        let messages = Messages::new(spec.release.app.clone(), &spec.setup, outgoing, clock);
        let (drain, drained) = oneshot::channel();
        let task = Task::new(Arc::clone(&spec), program, apart, surroundings, status.clone(), messages.clone());
        let task = tokio::spawn(task.run(drained));
        Self { spec, status, on_trial, messages, drain: Some(drain), task }
    }

    /// The board's ports that lead to it.
    pub(crate) fn ports(&self, protocol: Protocol) -> Vec<u16> {
        let listen = self.spec.setup.listen.iter().filter(|listen| listen.protocol == protocol);
        listen.filter_map(|listen| listen.host).collect()
    }

    /// The names under which it hears messages.
    pub(crate) fn hears(&self) -> &[TopicName] {
        &self.spec.setup.topics_in
    }

    /// A message for it.
    pub(crate) fn deliver(&self, name: &TopicName, payload: &[u8]) {
        self.messages.deliver(name, payload);
    }

    /// Until its connections have ended, or their time is over; then it is gone.
    pub(crate) async fn drain(mut self) {
        if let Some(drain) = self.drain.take() {
            // A task that is gone has nothing to finish.
            let _ = drain.send(());
        }
        let _ = (&mut self.task).await;
    }
}

/// What a guest for this world may use, of an app with this much memory.
pub(crate) fn limits(world: World, memory_bytes: u64) -> Limits {
    let memory_bytes = world.memory_bytes(memory_bytes);
    Limits { memory_bytes: usize::try_from(memory_bytes).unwrap_or(usize::MAX), ..Limits::default() }
}

//! One release of one app, running: what its [`Supervisor`] says is done here, and nothing else.

use std::{future::pending, pin::Pin, sync::Arc, time::Duration};

use dunlin_core::{
    limits::LAST_CALL_MS,
    supervise,
    supervise::{Effect, Supervisor},
    wire::{Instances, Probe, Start, World},
};
#[cfg(feature = "components")]
use dunlin_host::Stream;
use dunlin_host::{Ended, Grants, Guest, Program, Usage};
use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::Instant,
};

use super::{
    Report, Said, Spec, Status, Surroundings,
    doors::Doors,
    limits,
    lines::{Heard, Lines, Paper, Tail},
    load::Programs,
    messages::Messages,
    probe,
    record::{Counted, Record},
};
#[cfg(feature = "components")]
use crate::serve::{Serving, Times, each, serve};

type Run = Pin<Box<dyn Future<Output = supervise::Ended> + Send>>;
type Look = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;
type Knock = Pin<Box<dyn Future<Output = ()> + Send>>;

pub(super) struct Task {
    spec: Arc<Spec>,
    /// Whether it stays behind sockets of its own until it is promoted.
    apart: bool,
    around: Surroundings,
    messages: Messages,
    supervisor: Supervisor,
    reported: Status,
    /// Not kept while it is put away.
    program: Option<Program>,
    doors: Option<Doors>,
    guest: Option<Run>,
    usage: Arc<Usage>,
    record: Record,
    /// Counts the run in the record.
    counted: Option<Counted>,
    /// Open connections that the supervisor was told of.
    connections: usize,
    accepting: Arc<Notify>,
    look: Option<Look>,
    knock: Option<Knock>,
    tail: Tail,
    /// What went wrong with requests that it answers.
    faults: Option<mpsc::Receiver<String>>,
    /// When its program gives back what its start took.
    rest: Option<Instant>,
}

/// By then a guest has translated most of what it ever runs, and has answered for the first time.
const REST_AFTER: Duration = Duration::from_secs(10);

/// Faults that the task has not heard of yet. What is more is in the app's log.
#[cfg(feature = "components")]
const FAULTS_WAITING_MAX: usize = 8;

impl Task {
    pub(super) fn new(
        spec: Arc<Spec>,
        program: Program,
        apart: bool,
        around: Surroundings,
        reported: Status,
        messages: Messages,
    ) -> Self {
        // Only spreads restarts: without randomness they are just not spread.
        let seed = getrandom::u64().unwrap_or_default();
        let supervisor = Supervisor::new(&spec.setup, spec.trial, seed, around.clock.now());
        let record = around.records.of(&spec.release.app);
        Self {
            spec,
            apart,
            around,
            messages,
            supervisor,
            reported,
            program: Some(program),
            doors: None,
            guest: None,
            usage: Arc::default(),
            record,
            counted: None,
            connections: 0,
            accepting: Arc::default(),
            look: None,
            knock: None,
            tail: Tail::default(),
            faults: None,
            rest: None,
        }
    }

    /// Runs it, until it is dropped or told to drain.
    pub(super) async fn run(mut self, mut drain: oneshot::Receiver<()>) {
        loop {
            while let Some(effect) = self.supervisor.poll_effect() {
                self.perform(effect).await;
            }
            self.report();
            let timeout = until(self.supervisor.poll_timeout().map(|at| self.around.clock.instant(at)));
            let rested = until(self.rest);
            let on_demand = matches!(self.spec.setup.start, Start::OnDemand { .. });
            let (usage, known) = (Arc::clone(&self.usage), self.connections);
            let connections = async {
                if !on_demand {
                    pending().await
                }
                usage.connections(|open| open != known).await;
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
                () = maybe(&mut self.knock) => {
                    self.knock = None;
                    self.supervisor.handle_wanted(self.around.clock.now());
                }
                Some(why) = next(&mut self.faults) => self.supervisor.handle_fault(why, self.around.clock.now()),
                () = self.accepting.notified() => self.supervisor.handle_accepting(self.around.clock.now()),
                () = connections => {
                    self.connections = self.usage.connections_open();
                    self.supervisor.handle_connections(self.connections, self.around.clock.now());
                }
                () = rested => self.rest(),
                Ok(()) = &mut drain => return self.drain().await,
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
            Effect::Listen => self.put_away(),
            Effect::Promote => {
                self.apart = false;
                if let Some(doors) = &mut self.doors {
                    doors.promote();
                }
                self.say(Said::Promoted);
            }
            Effect::Confirm => self.say(Said::Confirmed),
        }
    }

    async fn launch(&mut self) -> Result<(), String> {
        let doors = Doors::open(&self.around.ports, &self.spec, self.apart).await?;
        let program = match &self.program {
            Some(program) => program.clone(),
            None => load_again(self.around.programs.clone(), Arc::clone(&self.spec)).await?,
        };
        self.program = Some(program.clone());
        self.rest = Some(Instant::now() + REST_AFTER);
        // Fresh ones for each run: what an earlier run said last is not about this one.
        (self.accepting, self.usage, self.connections) = (Arc::default(), Arc::default(), 0);
        self.tail = Tail::default();
        if !doors.accepts() {
            self.accepting.notify_one();
        }
        self.guest = Some(match self.spec.release.world {
            World::Http(instances) => self.serve(program, instances, &doors)?,
            World::Preview1 | World::Command | World::Agent => {
                let guest = self.guest(&doors)?;
                Box::pin(async move { ended(dunlin_host::run(&program, guest).await) })
            }
        });
        let after_failure = self.supervisor.has_failed() || self.supervisor.failures() > 0;
        self.counted = Some(self.record.start(Arc::clone(&self.usage), after_failure));
        self.doors = Some(doors);
        Ok(())
    }

    /// Answers requests, until it cannot be started any more.
    #[cfg(feature = "components")]
    fn serve(&mut self, program: Program, instances: Instances, doors: &Doors) -> Result<Run, String> {
        let (app, setup) = (&self.spec.release.app, &self.spec.setup);
        // What is opened for it is opened once, and not for each request.
        let guest = self.guest(doors)?;
        let ready = Arc::clone(&self.accepting);
        let paper = self.paper();
        let lines = paper.clone();
        let (told, faults) = mpsc::channel(FAULTS_WAITING_MAX);
        self.faults = Some(faults);
        tracing::debug!(%app, instances = instances.max, memory = setup.memory_bytes, "answers requests");
        let serving = Serving {
            program,
            instances: instances.max.into(),
            keep: instances.keep,
            gates: doors.gates(),
            usage: Arc::clone(&self.usage),
            times: Times::default(),
            guest: each(guest, move || Box::new(Lines::new(lines.clone()))),
            accepting: Box::new(move || ready.notify_one()),
            fault: Box::new(move |why| {
                paper.line(Stream::Stderr, why.as_bytes());
                // The task has heard of others then.
                let _ = told.try_send(why);
            }),
        };
        Ok(Box::pin(async move { supervise::Ended { well: false, why: serve(serving).await } }))
    }

    /// No module for it passes the loading of it.
    #[cfg(not(feature = "components"))]
    fn serve(&mut self, _: Program, _: Instances, _: &Doors) -> Result<Run, String> {
        Err("this agent was built without the feature \"components\"".into())
    }

    /// Gives back what translating the program took.
    fn rest(&mut self) {
        self.rest = None;
        if let Some(program) = &self.program {
            program.give_back();
        }
    }

    /// Gives back what a guest costs, but for the port that somebody may knock at.
    fn put_away(&mut self) {
        (self.program, self.doors) = (None, None);
        self.knock = Some(Box::pin(Doors::wanted(self.around.ports.clone(), Arc::clone(&self.spec))));
    }

    fn guest(&self, doors: &Doors) -> Result<Guest, String> {
        let setup = &self.spec.setup;
        let app = &self.spec.release.app;
        let (listeners, listen) = doors.give();
        let (connect, within) = (self.spec.reach.clone(), self.around.board.within.clone());
        let lines = Lines::new(self.paper());
        Ok(Guest {
            args: [app.to_string()].into_iter().chain(setup.args.iter().cloned()).collect(),
            env: self.around.board.environment(app, setup)?,
            directories: self.around.board.directories(app, setup)?,
            listeners,
            grants: Grants { connect, within, resolve: setup.resolve, listen },
            lookups: self.record.lookups(),
            bus: self.messages.bus(),
            #[cfg(feature = "components")]
            client: Some(Arc::clone(&self.around.outbound) as Arc<_>),
            limits: limits(self.spec.release.world, setup.memory_bytes),
            observer: Box::new(lines),
            usage: Arc::clone(&self.usage),
            ..Guest::default()
        })
    }

    fn paper(&self) -> Paper {
        let to = Heard {
            watch: Arc::clone(&self.around.watch),
            accepting: Arc::clone(&self.accepting),
            tail: self.tail.clone(),
            record: self.record.clone(),
        };
        Paper::new(self.spec.release.app.clone(), to, self.around.clock)
    }

    /// A look at the guest; nothing if its health is that it stays up.
    fn probe(&self) -> Option<Look> {
        let health = &self.spec.setup.health;
        let (port, request) = match &health.probe {
            Probe::Up => return None,
            Probe::Tcp { port } => (*port, None),
            Probe::Http { port, path, status } => (*port, Some((path.clone(), *status))),
        };
        let address = self.doors.as_ref()?.address(port)?;
        let patience = Duration::from_millis(health.timeout_ms.into());
        Some(Box::pin(probe::look(address, request, patience)))
    }

    /// Lets the guest finish the connections that it has, and no others.
    async fn drain(mut self) {
        let (Some(doors), Some(mut guest)) = (self.doors.take(), self.guest.take()) else { return };
        doors.shut();
        let usage = Arc::clone(&self.usage);
        let over = async {
            let drained = usage.connections(|open| open == 0);
            let patience = Duration::from_millis(self.spec.setup.drain_ms.into());
            if tokio::time::timeout(patience, drained).await.is_ok() {
                return;
            }
            doors.last_call();
            // Who is not done now is cut off.
            let patience = Duration::from_millis(LAST_CALL_MS);
            let _ = tokio::time::timeout(patience, usage.connections(|open| open == 0)).await;
        };
        tokio::select! {
            () = over => {}
            _ = &mut guest => {}
        }
    }

    fn report(&mut self) {
        let status = Status {
            phase: self.supervisor.phase(),
            why: self.supervisor.why().map(Into::into),
            failures: self.supervisor.failures(),
            log: if self.supervisor.has_failed() { self.tail.lines() } else { Vec::new() },
        };
        if status != self.reported {
            self.reported = status.clone();
            self.say(Said::Status(status));
        }
    }

    fn say(&self, said: Said) {
        let (app, ran) = (self.spec.release.app.clone(), self.spec.ran);
        // The driver is gone only when this task is about to be.
        let _ = self.around.reports.send(Report { app, ran, said });
    }
}

async fn next(faults: &mut Option<mpsc::Receiver<String>>) -> Option<String> {
    match faults {
        Some(faults) => faults.recv().await,
        None => pending().await,
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(at) => tokio::time::sleep_until(at).await,
        None => pending().await,
    }
}

async fn load_again(programs: Programs, spec: Arc<Spec>) -> Result<Program, String> {
    let loaded = tokio::task::spawn_blocking(move || programs.load(&spec)).await;
    let loaded = loaded.map_err(|error| format!("it could not be loaded: {error}"))?;
    loaded.map_err(|not_loaded| not_loaded.why())
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

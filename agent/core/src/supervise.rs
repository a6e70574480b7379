//! The life of one release of one app on one device: start, probe, prove, restart, back off, sleep.
//!
//! ```text
//!    Asleep ◀─────────────── idle, on demand ────────────────┐
//!      │                                                     │
//!      │ wanted                ┌────── its trial is over ──▶ Running ── ended, left so ─▶ Finished
//!      ▼                       │                             ▲   │
//!  ▶ Starting ── well ──▶ Trial, or else ────────────────────┘   │
//!      ▲ │                   │                                   │
//!      │ │ on trial: ended, unwell, not well in time             │ ended, unwell
//!      │ ├───────────────────┴─────▶ Reverted                    │
//!      │ └─ otherwise ──▶ BackingOff ◀───────────────────────────┘
//!      └─ its time is over ─┘
//! ```
//!
//! A release that replaces a good one is on trial: it is started beside the old one, takes the ports when it
//! is well, and is the good one only when it stayed well for a while. `tests/supervise.txt` holds the
//! whole table of states and events.

use alloc::{collections::VecDeque, format, string::String};

use crate::{
    Backoff, Moment, limits,
    policy::Setup,
    wire::{Health, Probe, Restart, Start, state::Phase},
};

/// How often a start that is not yet well is looked at, in milliseconds.
const START_PROBE_MS: u64 = 200;

/// What the driver is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Start the guest.
    Launch,
    /// End the guest; nothing more is heard of it.
    Kill,
    /// Look whether it is well, and tell [`Supervisor::handle_probe`].
    Probe,
    /// Wait for a connection to its ports, and tell [`Supervisor::handle_wanted`].
    Listen,
    /// It is well: its ports are its own from now on, and the old release drains.
    Promote,
    /// It is the good one from now on.
    Confirm,
}

/// How a guest came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Whether it meant to: it exited with 0.
    pub well: bool,
    /// How, for a person.
    pub why: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Asleep,
    Starting { accepts: bool, until: Moment },
    Trial { until: Moment },
    Running { since: Moment },
    BackingOff { until: Moment },
    Finished,
    Reverted,
}

/// Decides for one release of one app. Made when it is to run, dropped when it is not any more.
#[derive(Debug)]
pub struct Supervisor {
    health: Health,
    restart: Restart,
    /// How long it may be idle before it is put away; for ever if absent.
    idle_ms: Option<u32>,
    /// How long it has to be well to be proven; it is already if absent.
    trial_ms: Option<u32>,
    backoff: Backoff,
    life: Life,
    why: Option<String>,
    ended_badly: bool,
    unwell_why: Option<String>,
    probe_at: Option<Moment>,
    looking: bool,
    /// Looks in a row, since the last other one.
    well: u16,
    unwell: u16,
    connections: usize,
    idle_at: Option<Moment>,
    /// When something failed that it did for somebody, as was told last.
    fault_at: Option<Moment>,
    effects: VecDeque<Effect>,
}

impl Supervisor {
    /// Starts it, or waits until somebody wants it. On trial it is to prove that it is as good as the
    /// release before it. The seed spreads restarts and should differ from board to board.
    pub fn new(setup: &Setup, on_trial: bool, seed: u64, now: Moment) -> Self {
        let mut supervisor = Self {
            health: setup.health.clone(),
            restart: setup.restart,
            idle_ms: match setup.start {
                Start::AtOnce => None,
                Start::OnDemand { idle_ms } => Some(idle_ms),
            },
            trial_ms: on_trial.then_some(setup.trial_ms),
            backoff: Backoff::new(limits::RESTART_MS, limits::RESTART_MS_MAX, seed),
            life: Life::Asleep,
            why: None,
            ended_badly: false,
            unwell_why: None,
            probe_at: None,
            looking: false,
            well: 0,
            unwell: 0,
            connections: 0,
            idle_at: None,
            fault_at: None,
            effects: VecDeque::new(),
        };
        if supervisor.idle_ms.is_some() && !on_trial {
            supervisor.sleep()
        } else {
            supervisor.launch(now)
        }
        supervisor
    }

    /// Where it is in its life.
    pub const fn phase(&self) -> Phase {
        match self.life {
            Life::Asleep => Phase::Asleep,
            Life::Starting { .. } => Phase::Starting,
            Life::Trial { .. } => Phase::Trial,
            Life::Running { .. } => Phase::Running,
            Life::BackingOff { .. } => Phase::BackingOff,
            Life::Finished => Phase::Finished,
            Life::Reverted => Phase::Reverted,
        }
    }

    /// Why it is not running, why it was last restarted, or what went wrong last while it ran.
    pub fn why(&self) -> Option<&str> {
        self.why.as_deref()
    }

    /// Whether it is where it is because something went wrong.
    pub const fn has_failed(&self) -> bool {
        match self.life {
            Life::BackingOff { .. } | Life::Reverted => true,
            Life::Finished => self.ended_badly,
            Life::Asleep | Life::Starting { .. } | Life::Trial { .. } | Life::Running { .. } => false,
        }
    }

    /// Restarts since it was last well for a while.
    pub const fn failures(&self) -> u32 {
        self.backoff.tries()
    }

    /// Somebody connects to one of its ports.
    pub fn handle_wanted(&mut self, now: Moment) {
        if self.life == Life::Asleep {
            self.launch(now);
        }
    }

    /// The guest accepts on its listeners, or was started and has none.
    pub fn handle_accepting(&mut self, now: Moment) {
        let Life::Starting { accepts: false, until } = self.life else { return };
        if self.health.probe == Probe::Up {
            self.rise(now);
        } else {
            self.life = Life::Starting { accepts: true, until };
            self.look();
        }
    }

    /// A look at the guest is over: it is well, or why it is not.
    ///
    /// One that was not asked for is left over from an earlier start and says nothing about this one.
    pub fn handle_probe(&mut self, outcome: Result<(), String>, now: Moment) {
        if !core::mem::take(&mut self.looking) {
            return;
        }
        (self.well, self.unwell) = match outcome {
            Ok(()) => (self.well.saturating_add(1), 0),
            Err(_) => (0, self.unwell.saturating_add(1)),
        };
        match (self.life, outcome) {
            (Life::Starting { .. }, Ok(())) if self.well >= self.health.successes => self.rise(now),
            (Life::Starting { .. }, outcome) => {
                self.unwell_why = outcome.err().or(self.unwell_why.take());
                self.probe_at = Some(now + START_PROBE_MS);
            }
            (Life::Trial { .. } | Life::Running { .. }, Err(why)) if self.unwell >= self.health.failures => {
                let why = format!("its health check failed {} times in a row: {why}", self.unwell);
                self.kill(why, now);
            }
            (Life::Trial { until }, Ok(())) if now >= until => self.prove(now),
            (Life::Trial { .. } | Life::Running { .. }, _) => {
                self.probe_at = Some(now + u64::from(self.health.interval_ms));
            }
            (Life::Asleep | Life::BackingOff { .. } | Life::Finished | Life::Reverted, _) => {}
        }
    }

    /// So many connections are open to the guest.
    pub fn handle_connections(&mut self, open: usize, now: Moment) {
        self.connections = open;
        self.idle_at = self.idle_from(now);
    }

    /// The guest ended by itself.
    pub fn handle_ended(&mut self, ended: Ended, now: Moment) {
        match self.life {
            Life::Starting { .. } | Life::Trial { .. } | Life::Running { .. } => self.end(ended, now),
            Life::Asleep | Life::BackingOff { .. } | Life::Finished | Life::Reverted => {}
        }
    }

    /// It goes on, but something that it did for somebody failed by its own fault. On trial that is its end.
    pub fn handle_fault(&mut self, why: String, now: Moment) {
        match self.life {
            Life::Trial { .. } => self.kill(why, now),
            Life::Running { .. } if self.fault_at.is_none_or(|at| now.since(at) >= limits::SERVE_FAULTS_MS) => {
                self.fault_at = Some(now);
                self.why = Some(why);
            }
            // Before it is well its health check decides.
            Life::Starting { .. }
            | Life::Running { .. }
            | Life::Asleep
            | Life::BackingOff { .. }
            | Life::Finished
            | Life::Reverted => {}
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Moment) {
        match self.life {
            Life::Starting { until, .. } if now >= until => {
                let last = self.unwell_why.take().map(|why| format!(": {why}")).unwrap_or_default();
                let why = format!("it was not well within {} ms of its start{last}", self.health.start_ms);
                self.kill(why, now);
            }
            Life::Trial { until } if now >= until && self.unwell == 0 => self.prove(now),
            Life::Running { .. } if self.idle_at.is_some_and(|at| now >= at) => {
                self.effects.push_back(Effect::Kill);
                self.why = None;
                self.sleep();
            }
            Life::Running { since } if self.forgiven_at(since).is_some_and(|at| now >= at) => {
                self.backoff.reset();
                (self.why, self.fault_at) = (None, None);
            }
            // One that is started on demand is started again only when it is wanted again.
            Life::BackingOff { until } if now >= until && self.idle_ms.is_some() => self.sleep(),
            Life::BackingOff { until } if now >= until => self.launch(now),
            Life::Asleep
            | Life::Starting { .. }
            | Life::Trial { .. }
            | Life::Running { .. }
            | Life::BackingOff { .. }
            | Life::Finished
            | Life::Reverted => {}
        }
        if self.probe_at.is_some_and(|at| now >= at) {
            self.look();
        }
    }

    /// What to do now, in this order.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) at the latest.
    pub fn poll_timeout(&self) -> Option<Moment> {
        let deadline = match self.life {
            Life::Starting { until, .. } | Life::BackingOff { until } => Some(until),
            // While it is unwell the next look decides.
            Life::Trial { until } => (self.unwell == 0).then_some(until),
            Life::Running { since } => self.forgiven_at(since).into_iter().chain(self.idle_at).min(),
            Life::Asleep | Life::Finished | Life::Reverted => None,
        };
        deadline.into_iter().chain(self.probe_at).min()
    }

    fn launch(&mut self, now: Moment) {
        self.life = Life::Starting { accepts: false, until: now + u64::from(self.health.start_ms) };
        (self.well, self.unwell, self.connections, self.fault_at) = (0, 0, 0, None);
        self.unwell_why = None;
        self.effects.push_back(Effect::Launch);
    }

    fn look(&mut self) {
        self.probe_at = None;
        self.looking = true;
        self.effects.push_back(Effect::Probe);
    }

    /// It is well for the first time since its start.
    fn rise(&mut self, now: Moment) {
        if self.health.probe != Probe::Up {
            self.probe_at = Some(now + u64::from(self.health.interval_ms));
        }
        match self.trial_ms {
            None => self.run(now),
            Some(ms) => {
                self.effects.push_back(Effect::Promote);
                self.life = Life::Trial { until: now + u64::from(ms) };
                if ms == 0 {
                    self.prove(now);
                }
            }
        }
    }

    fn prove(&mut self, now: Moment) {
        self.trial_ms = None;
        self.effects.push_back(Effect::Confirm);
        if self.health.probe != Probe::Up && !self.looking {
            self.probe_at.get_or_insert(now + u64::from(self.health.interval_ms));
        }
        self.run(now);
    }

    fn run(&mut self, now: Moment) {
        self.life = Life::Running { since: now };
        self.idle_at = self.idle_from(now);
    }

    /// When what went wrong is forgotten: it has run since then, and did nothing wrong.
    fn forgiven_at(&self, since: Moment) -> Option<Moment> {
        let since = if self.failures() > 0 { Some(since) } else { None };
        since.max(self.fault_at).map(|last| last + limits::WELL_AFTER_MS)
    }

    fn idle_from(&self, now: Moment) -> Option<Moment> {
        self.idle_ms.filter(|_| self.connections == 0).map(|ms| now + u64::from(ms))
    }

    fn kill(&mut self, why: String, now: Moment) {
        self.effects.push_back(Effect::Kill);
        self.end(Ended { well: false, why }, now);
    }

    fn end(&mut self, ended: Ended, now: Moment) {
        self.ended_badly = !ended.well;
        let leave = match self.restart {
            Restart::Always => false,
            Restart::OnFailure => ended.well,
            Restart::Never => true,
        };
        let meant = ended.well && (leave || self.idle_ms.is_some());
        if self.trial_ms.is_some() {
            if !meant {
                return self.rest(Life::Reverted, ended.why);
            }
            // It did what it is for.
            self.trial_ms = None;
            let promoted = matches!(self.life, Life::Trial { .. });
            self.effects.extend((!promoted).then_some(Effect::Promote));
            self.effects.push_back(Effect::Confirm);
        }
        if meant && self.idle_ms.is_some() {
            self.why = Some(ended.why);
            self.sleep();
        } else if leave {
            self.rest(Life::Finished, ended.why);
        } else {
            let until = now + self.backoff.wait_ms();
            self.rest(Life::BackingOff { until }, ended.why);
        }
    }

    fn sleep(&mut self) {
        self.life = Life::Asleep;
        (self.probe_at, self.idle_at, self.looking) = (None, None, false);
        self.effects.push_back(Effect::Listen);
    }

    fn rest(&mut self, life: Life, why: String) {
        self.life = life;
        self.why = Some(why);
        (self.probe_at, self.idle_at, self.looking) = (None, None, false);
    }
}

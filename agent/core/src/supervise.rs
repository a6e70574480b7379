//! The life of one release of one app on one device: start, probe, restart, back off.
//!
//! ```text
//!                 ┌────────── ended, not well in time, unwell ───────────┐
//!                 │                                                      ▼
//!  start ──▶ Starting ── accepting and well ──▶ Running ── ended ──▶ BackingOff
//!                 ▲                                │                     │
//!                 └───────── its time is over ─────┼─────────────────────┘
//!                                                  └─ ended, left so ─▶ Finished
//! ```
//!
//! `tests/supervise.txt` holds the whole table of states and events.

use alloc::{collections::VecDeque, format, string::String};

use crate::{
    Backoff, Moment, limits,
    wire::{Health, Probe, Restart, state::Phase},
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
    Starting { accepts: bool, until: Moment },
    Running { since: Moment },
    BackingOff { until: Moment },
    Finished,
}

/// Decides for one release of one app. Made when it is to run, dropped when it is not any more.
#[derive(Debug)]
pub struct Supervisor {
    health: Health,
    restart: Restart,
    backoff: Backoff,
    life: Life,
    why: Option<String>,
    unwell_why: Option<String>,
    probe_at: Option<Moment>,
    looking: bool,
    unwell: u16,
    effects: VecDeque<Effect>,
}

impl Supervisor {
    /// Starts it. The seed spreads restarts and should differ from board to board.
    pub fn new(health: Health, restart: Restart, seed: u64, now: Moment) -> Self {
        let mut supervisor = Self {
            health,
            restart,
            backoff: Backoff::new(limits::RESTART_MS, limits::RESTART_MS_MAX, seed),
            life: Life::Finished,
            why: None,
            unwell_why: None,
            probe_at: None,
            looking: false,
            unwell: 0,
            effects: VecDeque::new(),
        };
        supervisor.launch(now);
        supervisor
    }

    /// Where it is in its life.
    pub const fn phase(&self) -> Phase {
        match self.life {
            Life::Starting { .. } => Phase::Starting,
            Life::Running { .. } => Phase::Running,
            Life::BackingOff { .. } => Phase::BackingOff,
            Life::Finished => Phase::Finished,
        }
    }

    /// Why it is not running, or why it was last restarted.
    pub fn why(&self) -> Option<&str> {
        self.why.as_deref()
    }

    /// Restarts since it was last well for a while.
    pub const fn failures(&self) -> u32 {
        self.backoff.tries()
    }

    /// The guest accepts on its listeners, or was started and has none.
    pub fn handle_accepting(&mut self, now: Moment) {
        let Life::Starting { accepts: false, until } = self.life else { return };
        if self.health.probe == Probe::Up {
            self.life = Life::Running { since: now };
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
        match (self.life, outcome) {
            (Life::Starting { .. }, Ok(())) => {
                self.life = Life::Running { since: now };
                self.probe_at = Some(now + u64::from(self.health.interval_ms));
            }
            (Life::Starting { .. }, Err(why)) => {
                self.unwell_why = Some(why);
                self.probe_at = Some(now + START_PROBE_MS);
            }
            (Life::Running { .. }, Ok(())) => {
                self.unwell = 0;
                self.probe_at = Some(now + u64::from(self.health.interval_ms));
            }
            (Life::Running { .. }, Err(why)) => {
                self.unwell += 1;
                self.probe_at = Some(now + u64::from(self.health.interval_ms));
                if self.unwell >= self.health.failures {
                    let why = format!("its health check failed {} times in a row: {why}", self.unwell);
                    self.kill(why, now);
                }
            }
            (Life::BackingOff { .. } | Life::Finished, _) => {}
        }
    }

    /// The guest ended by itself.
    pub fn handle_ended(&mut self, ended: Ended, now: Moment) {
        if matches!(self.life, Life::BackingOff { .. } | Life::Finished) {
            return;
        }
        self.end(ended, now);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Moment) {
        match self.life {
            Life::Starting { until, .. } if now >= until => {
                let last = self.unwell_why.take().map(|why| format!(": {why}")).unwrap_or_default();
                let why = format!("it was not well within {} ms of its start{last}", self.health.start_ms);
                self.kill(why, now);
            }
            Life::Running { since } if self.failures() > 0 && now.since(since) >= limits::WELL_AFTER_MS => {
                self.backoff.reset();
                self.why = None;
            }
            Life::BackingOff { until } if now >= until => self.launch(now),
            Life::Starting { .. } | Life::Running { .. } | Life::BackingOff { .. } | Life::Finished => {}
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
            Life::Running { since } => (self.failures() > 0).then(|| since + limits::WELL_AFTER_MS),
            Life::Finished => None,
        };
        deadline.into_iter().chain(self.probe_at).min()
    }

    fn launch(&mut self, now: Moment) {
        self.life = Life::Starting { accepts: false, until: now + u64::from(self.health.start_ms) };
        self.unwell = 0;
        self.unwell_why = None;
        self.effects.push_back(Effect::Launch);
    }

    fn look(&mut self) {
        self.probe_at = None;
        self.looking = true;
        self.effects.push_back(Effect::Probe);
    }

    fn kill(&mut self, why: String, now: Moment) {
        self.effects.push_back(Effect::Kill);
        self.end(Ended { well: false, why }, now);
    }

    fn end(&mut self, ended: Ended, now: Moment) {
        let again = match self.restart {
            Restart::Always => true,
            Restart::OnFailure => !ended.well,
            Restart::Never => false,
        };
        if again {
            self.back_off(ended.why, now);
        } else {
            self.rest(Life::Finished, ended.why);
        }
    }

    fn back_off(&mut self, why: String, now: Moment) {
        let until = now + self.backoff.wait_ms();
        self.rest(Life::BackingOff { until }, why);
    }

    fn rest(&mut self, life: Life, why: String) {
        self.life = life;
        self.why = Some(why);
        self.probe_at = None;
        self.looking = false;
    }
}

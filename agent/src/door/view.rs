//! What a door shows: plain data that the driver leaves here whenever it changes.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use dunlin_core::{
    Code,
    limits::EVENTS_KEPT,
    wire::{
        AppName, Timestamp,
        state::{DeviceState, Event},
    },
};
use tokio::time::Instant;

use super::history::History;
use crate::apps::Records;

/// What is shown, or nothing where no door is open. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct View(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    records: Records,
    seen: Mutex<Seen>,
}

/// All of it.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) started: Instant,
    pub(super) started_at: Timestamp,
    pub(super) state: Option<DeviceState>,
    pub(super) trust: Option<Trust>,
    pub(super) link: LinkSeen,
    /// The last that happened, newest last.
    pub(super) events: VecDeque<Event>,
    /// How often each code was refused for.
    pub(super) refusals: BTreeMap<&'static str, u64>,
    pub(super) history: History,
    /// Bytes of what the board was given: documents and modules.
    pub(super) store_bytes: u64,
    /// Requests that passed the front door, by app and the first digit of their status.
    pub(super) front: BTreeMap<(AppName, u16), u64>,
}

/// The line to the broker.
#[derive(Clone, Debug, Default)]
pub(super) struct LinkSeen {
    pub(super) up: bool,
    pub(super) since: Timestamp,
    /// Sessions so far.
    pub(super) sessions: u64,
    /// Why it is not up.
    pub(super) why: Option<String>,
}

/// What this board trusts, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trust {
    pub(crate) root_expires: Timestamp,
    /// When the plan in force was made, and until when it may be accepted.
    pub(crate) plan: Option<(Timestamp, Timestamp)>,
    /// Whether the plan is past its time.
    pub(crate) stale: bool,
}

impl View {
    /// A view of a board with these records; one that keeps nothing, unless somebody is to look at it.
    pub(crate) fn new(open: bool, records: Records, now: Timestamp) -> Self {
        let seen = || Seen {
            started: Instant::now(),
            started_at: now,
            state: None,
            trust: None,
            link: LinkSeen { since: now, ..LinkSeen::default() },
            events: VecDeque::new(),
            refusals: BTreeMap::new(),
            history: History::default(),
            store_bytes: 0,
            front: BTreeMap::new(),
        };
        Self(open.then(|| Arc::new(Shared { records, seen: Mutex::new(seen()) })))
    }

    /// The board's state is another.
    pub(crate) fn state(&self, state: &DeviceState) {
        self.change(|seen| seen.state = Some(state.clone()));
    }

    /// What it trusts.
    pub(crate) fn trust(&self, trust: impl FnOnce() -> Trust) {
        self.change(|seen| seen.trust = Some(trust()));
    }

    /// Something happened.
    pub(crate) fn event(&self, event: &Event) {
        self.change(|seen| {
            if seen.events.len() >= EVENTS_KEPT {
                seen.events.pop_front();
            }
            seen.events.push_back(event.clone());
        });
    }

    /// Something was refused, whether that was news or not.
    pub(crate) fn refusal(&self, code: Code) {
        self.change(|seen| *seen.refusals.entry(code.as_str()).or_default() += 1);
    }

    /// The broker let us in, or why it is not there.
    pub(crate) fn link(&self, up: Result<(), &str>, now: Timestamp) {
        self.change(|seen| {
            let link = &mut seen.link;
            if link.up != up.is_ok() {
                link.since = now;
            }
            link.sessions += u64::from(up.is_ok());
            (link.up, link.why) = (up.is_ok(), up.err().map(Into::into));
        });
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Seen)) {
        if let Some(shared) = &self.0 {
            change(&mut shared.seen());
        }
    }

    /// What is seen now; nothing where no door is open.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Seen, &Records) -> T) -> Option<T> {
        self.0.as_ref().map(|shared| look(&shared.seen(), &shared.records))
    }
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        // Plain data: a panic elsewhere has not left it half-changed.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    /// What keeps this board from doing its work, a sentence each: nothing, if it is well.
    ///
    /// It says nothing of apps: a board that runs as it was told is well, whatever it was told to run.
    pub(super) fn problems(&self) -> Vec<String> {
        let planless = self.trust.as_ref().is_none_or(|trust| trust.plan.is_none());
        let nothing =
            (planless && !self.link.up).then(|| "there is no plan to obey, and no broker to hear of one".into());
        let trouble = self.state.as_ref().and_then(|state| state.trouble.clone());
        nothing.into_iter().chain(trouble).collect()
    }
}

//! The answers of `/v1`, as `openapi.json` describes them.

use std::{collections::BTreeMap, collections::VecDeque, fs, time::SystemTime};

use dunlin_core::{
    limits::HISTORY_MS,
    wire::{
        AppName, DeviceId, FleetName, Timestamp,
        plan::Labels,
        state::{AppState, Event, PlanState, Refused},
    },
};
use serde::Serialize;

use super::{history::Sample, view::Seen};
use crate::apps::{Figures, Line, Records};

/// Lines that come with one answer.
const LINES_MAX: usize = 100;

/// What went wrong, for a person.
#[derive(Serialize)]
pub(super) struct Failed<'a> {
    pub(super) error: &'a str,
}

/// `/v1/board`
#[derive(Serialize)]
pub(super) struct Board<'a> {
    device: Option<&'a DeviceId>,
    fleet: Option<&'a FleetName>,
    labels: Option<&'a Labels>,
    /// The agent's own version.
    agent: &'static str,
    /// Now, as this board knows it.
    at: Timestamp,
    uptime_s: u64,
    /// What keeps it from doing its work.
    problems: Vec<String>,
    link: Link<'a>,
    trust: Trust<'a>,
    /// The last thing that was refused, until a newer plan is accepted.
    refused: Option<&'a Refused>,
    refusals: &'a BTreeMap<&'static str, u64>,
    /// What its broker does not do for it.
    broker: &'a [String],
    memory_bytes: u64,
    store_bytes: u64,
    apps: usize,
}

#[derive(Serialize)]
struct Link<'a> {
    up: bool,
    since: Timestamp,
    sessions: u64,
    why: Option<&'a str>,
}

#[derive(Serialize)]
struct Trust<'a> {
    root: Option<u64>,
    root_expires: Option<Timestamp>,
    plan: Option<&'a PlanState>,
    issued: Option<Timestamp>,
    not_after: Option<Timestamp>,
    /// Whether the plan is past its time: what runs keeps running, and nothing new is taken.
    stale: bool,
}

/// `/v1/apps`
#[derive(Serialize)]
pub(super) struct Apps<'a> {
    apps: Vec<App<'a>>,
}

#[derive(Serialize)]
struct App<'a> {
    #[serde(flatten)]
    state: &'a AppState,
    figures: Figures,
}

/// `/v1/apps/NAME`
#[derive(Serialize)]
pub(super) struct OneApp<'a> {
    #[serde(flatten)]
    app: App<'a>,
    lines: Vec<Line>,
}

/// `/v1/apps/NAME/log`
#[derive(Serialize)]
pub(super) struct Log {
    lines: Vec<Line>,
}

/// `/v1/events`
#[derive(Serialize)]
pub(super) struct Events<'a> {
    events: &'a VecDeque<Event>,
}

/// `/v1/history`
#[derive(Serialize)]
pub(super) struct Histories<'a> {
    every_ms: u64,
    apps: BTreeMap<&'a AppName, Columns>,
}

/// One app's samples, oldest first.
#[derive(Default, Serialize)]
struct Columns {
    memory_bytes: Vec<u64>,
    connections: Vec<u64>,
    requests: Vec<u64>,
    fuel: Vec<u64>,
}

pub(super) fn board(seen: &Seen) -> Board<'_> {
    let state = seen.state.as_ref();
    let (trust, link) = (seen.trust.as_ref(), &seen.link);
    let times = trust.and_then(|trust| trust.plan);
    Board {
        device: state.map(|state| &state.device),
        fleet: state.map(|state| &state.fleet),
        labels: state.map(|state| &state.labels),
        agent: env!("CARGO_PKG_VERSION"),
        at: now(),
        uptime_s: seen.started.elapsed().as_secs(),
        problems: seen.problems(),
        link: Link { up: link.up, since: link.since, sessions: link.sessions, why: link.why.as_deref() },
        trust: Trust {
            root: state.map(|state| state.root),
            root_expires: trust.map(|trust| trust.root_expires),
            plan: state.and_then(|state| state.plan.as_ref()),
            issued: times.map(|(issued, _)| issued),
            not_after: times.map(|(_, not_after)| not_after),
            stale: trust.is_some_and(|trust| trust.stale),
        },
        refused: state.and_then(|state| state.refused.as_ref()),
        refusals: &seen.refusals,
        broker: state.map_or(&[], |state| &state.broker),
        memory_bytes: resident_bytes(),
        store_bytes: seen.store_bytes,
        apps: state.map_or(0, |state| state.apps.len()),
    }
}

pub(super) fn apps<'a>(seen: &'a Seen, records: &Records) -> Apps<'a> {
    Apps { apps: states(seen).iter().map(|state| with_figures(state, records)).collect() }
}

pub(super) fn app<'a>(seen: &'a Seen, records: &Records, app: &AppName) -> Option<OneApp<'a>> {
    let state = states(seen).iter().find(|state| state.app == *app)?;
    let lines = log(seen, records, app, 0)?.lines;
    Some(OneApp { app: with_figures(state, records), lines })
}

/// Nothing if there is no such app; an app that never printed has no lines.
pub(super) fn log(seen: &Seen, records: &Records, app: &AppName, after: u64) -> Option<Log> {
    states(seen).iter().find(|state| state.app == *app)?;
    let lines = records.find(app).map(|record| record.lines(after, LINES_MAX)).unwrap_or_default();
    Some(Log { lines })
}

pub(super) fn events(seen: &Seen) -> Events<'_> {
    Events { events: &seen.events }
}

pub(super) fn history(seen: &Seen) -> Histories<'_> {
    let columns = |state: &'_ AppState| {
        let mut columns = Columns::default();
        for Sample { memory_bytes, connections, requests, fuel } in seen.history.of(&state.app) {
            columns.memory_bytes.push(*memory_bytes);
            columns.connections.push(*connections);
            columns.requests.push(*requests);
            columns.fuel.push(*fuel);
        }
        columns
    };
    let apps = states(seen).iter().map(|state| (&state.app, columns(state))).collect();
    Histories { every_ms: HISTORY_MS, apps }
}

pub(super) fn states(seen: &Seen) -> &[AppState] {
    seen.state.as_ref().map_or(&[], |state| &state.apps)
}

fn with_figures<'a>(state: &'a AppState, records: &Records) -> App<'a> {
    let figures = records.find(&state.app).map(|record| record.figures()).unwrap_or_default();
    App { state, figures }
}

/// What of this process is in memory, as the kernel tells it (proc_pid_status(5)).
pub(super) fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}

fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Timestamp(since_epoch.map_or(0, |time| time.as_secs()))
}

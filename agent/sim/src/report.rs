//! What came of it: a table for people, and the same as JSON.

use std::{fmt, time::Duration};

use serde::Serialize;

use crate::{fault::Faults, operator::Traffic, tally::Tally};

/// One run of so many boards.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Run {
    /// Boards.
    pub boards: usize,
    /// What was wrong with some of them.
    pub faults: Faults,
    /// Those that ran `guests/hello`.
    pub real_guests: usize,
    /// What chance began with.
    pub seed: u64,
    /// In this order. After one that did not converge there is none.
    pub deploys: Vec<Deploy>,
    /// With one release on every board.
    pub memory: Memory,
    /// Connections that boards made.
    pub connections: u64,
    /// Boards' losses of power.
    pub power_cuts: u64,
    /// What boards refused.
    pub refusals: u64,
    /// How often the operator lost its line to the broker.
    pub operator_losses: u64,
}

/// Memory, in bytes for each board.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Memory {
    /// Of the process of all boards: agents, interpreters, guests, lines.
    pub boards: u64,
    /// Of the broker.
    pub broker: u64,
    /// Of the state folders on their disk in memory.
    pub state: u64,
}

impl Memory {
    /// What came on top, divided among so many boards.
    pub(crate) fn since(self, before: Self, boards: usize) -> Self {
        let each = |now: u64, before: u64| now.saturating_sub(before) / boards as u64;
        Self {
            boards: each(self.boards, before.boards),
            broker: each(self.broker, before.broker),
            state: each(self.state, before.state),
        }
    }
}

/// One deploy: a plan, or as many as it took until all boards were there.
#[derive(Clone, Debug, Serialize)]
pub struct Deploy {
    /// Its name.
    pub name: &'static str,
    /// Plans: more than one if boards lost power while a release was on trial.
    pub plans: u32,
    /// Boards that are there.
    pub converged: usize,
    /// Some of the boards that are not.
    pub missing: Vec<usize>,
    /// From the first plan's publication until the operator hears that a board is there, in milliseconds.
    pub median_ms: u64,
    /// Of 99 in a hundred boards.
    pub p99_ms: u64,
    /// Of the last one.
    pub last_ms: u64,
    /// For each board.
    #[serde(flatten)]
    pub cost: Cost,
}

/// What one board cost, on average.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Cost {
    /// Bytes of MQTT packets from the broker.
    pub bytes_down: f64,
    /// To the broker.
    pub bytes_up: f64,
    /// MQTT packets from the broker.
    pub messages_down: f64,
    /// To the broker.
    pub messages_up: f64,
    /// The broker's CPU time.
    pub broker_cpu_ms: f64,
    /// The agent's CPU time, its line's and its guest's.
    pub board_cpu_ms: f64,
}

impl Cost {
    pub(crate) fn of(traffic: Traffic, broker: Duration, boards: Duration, count: usize) -> Self {
        let each = |sum: u64| sum as f64 / count as f64;
        let ms = |time: Duration| time.as_secs_f64() * 1_000.0 / count as f64;
        Self {
            bytes_down: each(traffic.bytes_down),
            bytes_up: each(traffic.bytes_up),
            messages_down: each(traffic.messages_down),
            messages_up: each(traffic.messages_up),
            broker_cpu_ms: ms(broker),
            board_cpu_ms: ms(boards),
        }
    }

    fn sum(self, other: Self) -> Self {
        Self {
            bytes_down: self.bytes_down + other.bytes_down,
            bytes_up: self.bytes_up + other.bytes_up,
            messages_down: self.messages_down + other.messages_down,
            messages_up: self.messages_up + other.messages_up,
            broker_cpu_ms: self.broker_cpu_ms + other.broker_cpu_ms,
            board_cpu_ms: self.board_cpu_ms + other.board_cpu_ms,
        }
    }
}

impl Deploy {
    pub(crate) fn new(name: &'static str, plans: u32, tally: &Tally, cost: Cost) -> Self {
        let times = tally.times();
        let ms = |percent| percentile(&times, percent).map_or(0, |time| time.as_millis() as u64);
        Self {
            name,
            plans,
            converged: times.len(),
            missing: tally.missing(),
            median_ms: ms(50),
            p99_ms: ms(99),
            last_ms: ms(100),
            cost,
        }
    }

    /// Whether every board is there.
    pub fn has_converged(&self) -> bool {
        self.missing.is_empty()
    }
}

impl Run {
    /// Whether every board was there after every deploy.
    pub fn has_converged(&self) -> bool {
        self.deploys.iter().all(Deploy::has_converged)
    }

    /// What a board cost from its first connection to the last deploy.
    pub fn cost(&self) -> Cost {
        self.deploys.iter().map(|deploy| deploy.cost).fold(Cost::default(), Cost::sum)
    }
}

/// The time within which so many in a hundred are, the nearest one above. They are sorted.
fn percentile(times: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (times.len() * percent).div_ceil(100).max(1);
    times.get(rank - 1).copied()
}

/// All runs, as a table: what a board costs and how that grows with their number.
#[derive(Debug)]
pub struct Table<'a>(pub &'a [Run]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>7}  {:<9} {:>21}  {:^26}  {:^44}", "", "", "", "converged after, s", "each board")?;
        writeln!(
            f,
            "{:>7}  {:<9} {:>12} {:>8}  {:>8} {:>8} {:>8}  {:>8} {:>7} {:>8} {:>9} {:>8}",
            "boards",
            "deploy",
            "converged",
            "plans",
            "median",
            "99th",
            "last",
            "KiB down",
            "KiB up",
            "messages",
            "broker ms",
            "agent ms"
        )?;
        for run in self.0 {
            run.deploys.iter().try_for_each(|deploy| deploy_line(f, run.boards, deploy))?;
        }
        writeln!(f)?;
        writeln!(
            f,
            "{:>7}  {:>10} {:>11} {:>10}  {:>11} {:>10} {:>8}",
            "boards", "agent KiB", "broker KiB", "state KiB", "connections", "power cuts", "refusals"
        )?;
        for run in self.0 {
            let Memory { boards, broker, state } = run.memory;
            let [agent, broker, state] = [boards, broker, state].map(kib);
            writeln!(
                f,
                "{:>7}  {agent:>10.1} {broker:>11.1} {state:>10.1}  {:>11} {:>10} {:>8}",
                run.boards, run.connections, run.power_cuts, run.refusals
            )?;
        }
        let [first, .., last] = self.0 else { return Ok(()) };
        writeln!(f)?;
        writeln!(
            f,
            "a board among {} against one among {}, all deploys together: {}",
            last.boards,
            first.boards,
            Growth(first, last)
        )
    }
}

fn deploy_line(f: &mut fmt::Formatter<'_>, boards: usize, deploy: &Deploy) -> fmt::Result {
    let Deploy { name, plans, converged, median_ms, p99_ms, last_ms, cost, .. } = deploy;
    let [median, p99, last] = [median_ms, p99_ms, last_ms].map(|ms| *ms as f64 / 1_000.0);
    let (down, up) = (cost.bytes_down / 1_024.0, cost.bytes_up / 1_024.0);
    let messages = cost.messages_down + cost.messages_up;
    let (broker, agent) = (cost.broker_cpu_ms, cost.board_cpu_ms);
    writeln!(
        f,
        "{boards:>7}  {name:<9} {converged:>12} {plans:>8}  {median:>8.2} {p99:>8.2} {last:>8.2}  {down:>8.1} {up:>7.1} \
         {messages:>8.1} {broker:>9.2} {agent:>8.2}"
    )
}

fn kib(bytes: u64) -> f64 {
    bytes as f64 / 1_024.0
}

/// How many times as much.
struct Growth<'a>(&'a Run, &'a Run);

impl fmt::Display for Growth<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(few, many) = self;
        let (before, now) = (few.cost(), many.cost());
        let bytes = (now.bytes_down + now.bytes_up) / (before.bytes_down + before.bytes_up);
        let messages = (now.messages_down + now.messages_up) / (before.messages_down + before.messages_up);
        let (broker, agent) = (now.broker_cpu_ms / before.broker_cpu_ms, now.board_cpu_ms / before.board_cpu_ms);
        let memory = many.memory.boards as f64 / few.memory.boards as f64;
        write!(
            f,
            "bytes {bytes:.2}, messages {messages:.2}, broker CPU {broker:.2}, agent CPU {agent:.2}, agent memory {memory:.2} times"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_nearest_above() {
        let times: Vec<_> = (1..=200).map(Duration::from_millis).collect();
        let ms = |percent| percentile(&times, percent).unwrap().as_millis();
        assert_eq!((ms(50), ms(99), ms(100)), (100, 198, 200));
        assert_eq!(percentile(&times[..1], 50), Some(times[0]));
        assert_eq!(percentile(&[], 50), None);
    }
}

//! One run: so many boards, and every deploy from the first release to the last app's removal.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use dunlin_core::wire::{Envelope, Release};
use indicatif::ProgressBar;
use rustix::time::{ClockId, clock_gettime};

use crate::{
    Settings,
    boards::Boards,
    fault::Faults,
    fleet::Fleet,
    guest::Released,
    mosquitto::Mosquitto,
    operator::{Heard, Operator, Traffic},
    real,
    report::{Cost, Deploy, Memory, Run},
    tally::{Goal, Tally},
    usage,
};

/// Open files beside those of boards and lines: of the runtimes, of files that are just written.
const FILES: usize = 256;

/// Open files of a board with a real guest: listeners, and the connection of a health check.
const FILES_OF_REAL_GUESTS: usize = 8;

/// How often to look whether an agent has ended.
const LOOK: Duration = Duration::from_secs(1);

/// Runs so many boards through all deploys. What does not converge within the limit is in the result.
pub fn simulate(boards: usize, settings: &Settings, bar: &ProgressBar) -> anyhow::Result<Run> {
    let faults = Faults::among(boards, settings);
    let real = boards.min(settings.real_guests as usize);
    usage::allow_files(boards + 2 * (faults.lossy + faults.slow) + FILES_OF_REAL_GUESTS * real + FILES)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(async {
        tokio::select! {
            run = run(boards, real, faults, settings, bar) => run,
            // Dropped, boards give back what they have in memory.
            _ = tokio::signal::ctrl_c() => bail!("interrupted"),
        }
    })
}

async fn run(
    boards: usize,
    real: usize,
    faults: Faults,
    settings: &Settings,
    bar: &ProgressBar,
) -> anyhow::Result<Run> {
    let broker = Mosquitto::start()?;
    let fleet = Fleet::new(settings.others)?;
    let folder = Boards::folder(&fleet.root())?;
    let operator = Operator::connect(broker.address(), &fleet).await?;
    let (limit, read) = (settings.limit.0, Reading::default());
    let mut scene = Scene { broker, fleet, operator, boards: None, count: boards, limit, bar, read };
    let module = usize::try_from(settings.module.0)?;
    let [first, second] = [1, 2].map(|counter| releases(counter, module, real));
    let (first, second) = (first?, second?);
    for released in first.iter().chain(&second) {
        scene.operator.release(&scene.fleet, released).await?;
    }
    let [first, second] = [&first, &second].map(|all| all.iter().map(|one| &one.release).collect::<Vec<_>>());

    let before = scene.resident(folder.path())?;
    let path = folder.path().to_owned();
    let mut run = Run { boards, faults, real_guests: real, seed: settings.seed, ..Run::default() };
    run.deploys.push(scene.power_on(settings, folder).await?);
    for (name, releases) in [("first", &first), ("update", &second), ("rollback", &first), ("remove", &Vec::new())] {
        if run.deploys.iter().any(|deploy| !deploy.has_converged()) {
            break;
        }
        run.deploys.push(scene.deploy(name, releases).await?);
        if name == "first" {
            run.memory = scene.resident(&path)?.since(before, boards);
        }
        if !releases.is_empty() {
            real::check_answers(real).await?;
        }
    }
    let boards = scene.boards.as_ref().context("no boards")?;
    (run.connections, run.power_cuts, run.refusals) = (boards.connections(), boards.power_cuts(), boards.refusals());
    run.operator_losses = scene.operator.losses();
    Ok(run)
}

/// Version `counter` of what boards run.
fn releases(counter: u64, module: usize, real: usize) -> anyhow::Result<Vec<Released>> {
    let mut releases = vec![Released::sleeper(counter, module)?];
    if real > 0 {
        releases.push(Released::hello(counter)?);
    }
    Ok(releases)
}

struct Scene<'a> {
    broker: Mosquitto,
    fleet: Fleet,
    operator: Operator,
    boards: Option<Boards>,
    count: usize,
    limit: Duration,
    bar: &'a ProgressBar,
    /// What was used when the last deploy was over: until the next one, nothing happens.
    read: Reading,
}

/// What was used until a moment.
#[derive(Clone, Copy, Default)]
struct Reading {
    traffic: Traffic,
    broker_cpu: Duration,
    boards_cpu: Duration,
}

impl Scene<'_> {
    /// Gives power to all boards, until each has said that it is there.
    async fn power_on(&mut self, settings: &Settings, folder: tempfile::TempDir) -> anyhow::Result<Deploy> {
        self.read = self.read().await?;
        let (tally, since) = (Tally::new(Goal::new(), 0, self.count), Instant::now());
        self.boards = Some(Boards::start(self.count, settings, self.broker.address(), folder)?);
        self.follow("power on", tally, since, &[]).await
    }

    /// Orders these, until every board has said that it runs its one.
    async fn deploy(&mut self, name: &'static str, releases: &[&Release]) -> anyhow::Result<Deploy> {
        let goal =
            releases.iter().map(|release| (release.app.clone(), Envelope::unsigned(*release).digest())).collect();
        let since = Instant::now();
        let tally = Tally::new(goal, self.order(releases)?, self.count);
        if let Some(boards) = &self.boards {
            boards.ordered();
        }
        self.follow(name, tally, since, releases).await
    }

    fn order(&mut self, releases: &[&Release]) -> anyhow::Result<u64> {
        let (sequence, plan) = self.fleet.plan(releases)?;
        self.operator.order(plan);
        Ok(sequence)
    }

    async fn follow(
        &mut self,
        name: &'static str,
        mut tally: Tally,
        since: Instant,
        releases: &[&Release],
    ) -> anyhow::Result<Deploy> {
        self.bar.set_message(format!("{} boards, {name}", self.count));
        self.bar.set_length(self.count as u64);
        self.bar.set_position(0);
        let mut plans = 1;
        while tally.left() > 0 && since.elapsed() < self.limit {
            match tokio::time::timeout(LOOK, self.operator.hear()).await {
                Ok(heard) => {
                    if let Heard::State(state) = heard? {
                        tally.handle_state(&state, since.elapsed());
                    }
                }
                Err(_) => self.boards.iter().try_for_each(Boards::check)?,
            }
            // As an operator would: whoever lost power during the trial has gone back, and tries again under a next plan.
            if tally.is_stuck() {
                tally.handle_ordered_again(self.order(releases)?);
                plans += 1;
            }
            self.bar.set_position((self.count - tally.left()) as u64);
        }
        let after = self.read().await?;
        let before = std::mem::replace(&mut self.read, after);
        let cost = Cost::of(
            after.traffic.since(before.traffic),
            after.broker_cpu.saturating_sub(before.broker_cpu),
            after.boards_cpu.saturating_sub(before.boards_cpu),
            self.count,
        );
        Ok(Deploy::new(name, plans, &tally, cost))
    }

    /// Waits until the broker has counted what was, and reads all counts.
    async fn read(&mut self) -> anyhow::Result<Reading> {
        while !matches!(self.operator.hear().await?, Heard::Counted) {}
        let operator = clock_gettime(ClockId::ThreadCPUTime);
        let operator = Duration::new(operator.tv_sec.unsigned_abs(), operator.tv_nsec.unsigned_abs() as u32);
        Ok(Reading {
            traffic: self.operator.traffic(),
            broker_cpu: usage::cpu(self.broker.pid())?,
            boards_cpu: usage::cpu(std::process::id())?.saturating_sub(operator),
        })
    }

    fn resident(&self, folder: &std::path::Path) -> anyhow::Result<Memory> {
        let [boards, broker] = [std::process::id(), self.broker.pid()].map(usage::memory);
        Ok(Memory { boards: boards?, broker: broker?, state: usage::disk(folder)? })
    }
}

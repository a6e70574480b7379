//! The agent's own program: staged, tried, confirmed or given up. What comes of it is core's to say.

use std::path::PathBuf;

use dunlin_core::{
    Moment,
    trust::{Verified, check_module},
    upgrade::{Own, Program, Record, Stage, Trial, bans},
    wire::{AppName, Assignment, Digest, Release, ReleaseRef, Root, Topic, seal, state::Phase},
};

use super::{Driver, jobs::Done};
use crate::{
    Failure,
    link::Receipt,
    store::{NotFinished, Store, hash_file},
    upgrade::{Itself, TARGET, read},
};

/// What only the driver knows of it.
#[derive(Debug, Default)]
pub(super) struct Upgrade {
    launcher: PathBuf,
    /// It is being found out which program this is.
    asked: bool,
    /// Until when it has to have proven itself, if it is on trial.
    pub(super) until: Option<Moment>,
    /// It hears of plans.
    hears: bool,
    /// What it is has been told to the broker.
    told: bool,
    /// It makes place for another program.
    pub(super) leaves: bool,
}

/// What an earlier program left for this one.
pub(super) fn resume(itself: Option<Itself>, store: &Store, now: Moment) -> (Option<Own>, Upgrade) {
    let Some((itself, app)) = itself.zip(AppName::of_agent(TARGET).ok()) else { return Default::default() };
    let record = read(store).unwrap_or_else(|failure| {
        tracing::error!("{failure}");
        None
    });
    let trial = record.as_ref().and_then(|record| record.trial.as_ref());
    let on_trial = trial.filter(|trial| trial.stage == Stage::Started && itself.brought == Some(trial.program.sha256));
    let until = on_trial.map(|trial| now + u64::from(trial.within_ms));
    let own = Own { app, runs: itself.brought, busy: until.is_some(), record };
    (Some(own), Upgrade { launcher: itself.launcher, until, ..Upgrade::default() })
}

/// A program that is to be put on the disk.
struct Staging {
    from: PathBuf,
    to: PathBuf,
    release: Verified<Release>,
    record: Record,
}

impl Driver {
    /// Whether another program is to be started in the place of this one.
    pub(crate) fn leaves(&self) -> bool {
        self.upgrade.leaves
    }

    /// Finds out which program this is, once that matters, and forgets what failed and is not ordered any more.
    pub(super) fn look_at_own(&mut self, assignments: &[Assignment]) {
        let Some(own) = &mut self.actual.own else { return };
        let ordered = assignments.iter().find(|assignment| assignment.app == own.app);
        if ordered.is_some() && own.runs.is_none() && !self.upgrade.asked {
            self.upgrade.asked = true;
            let launcher = self.upgrade.launcher.clone();
            self.jobs.spawn_blocking(move || Done::Known(hash_file(&launcher)));
        }
        let ordered = ordered.filter(|assignment| !assignment.paused).map(|assignment| &assignment.release.digest);
        if let Some(record) = own.record.as_ref().and_then(|record| record.over(ordered)) {
            own.record = Some(record.clone());
            let (disk, path) = (self.store.disk().clone(), self.store.programs_path());
            self.jobs.spawn_blocking(move || Done::Written(disk.write_atomically(&path, &seal(&record))));
        }
    }

    pub(super) fn handle_known(&mut self, outcome: Result<Digest, Failure>) {
        match (outcome, &mut self.actual.own) {
            (Ok(digest), Some(own)) => own.runs = Some(digest),
            (Ok(_), None) => {}
            (Err(failure), _) => tracing::error!("the agent can't be replaced: {failure}"),
        }
    }

    /// Puts a release's program on the disk, to be tried.
    pub(super) fn stage_own(&mut self, release: Digest) {
        let Some((release, own)) = self.actual.releases.get(&release).zip(self.actual.own.as_mut()) else { return };
        let Some(runs) = own.runs else { return };
        own.busy = true;
        let sha256 = release.module.sha256;
        let staging = Staging {
            from: self.store.module_path(&sha256),
            to: self.store.program_path(&sha256),
            release: release.clone(),
            // Where there is no record, what was installed runs.
            record: own.record.clone().unwrap_or_else(|| Record::new(runs)),
        };
        tracing::info!(version = %release.version, "the plan has another agent: it is tried next");
        let store = std::sync::Arc::clone(&self.store);
        self.jobs.spawn_blocking(move || Done::Programmed { sha256, outcome: stage(&store, staging) });
    }

    pub(super) fn handle_programmed(&mut self, sha256: Digest, outcome: Result<Record, NotFinished>) {
        let Some(own) = &mut self.actual.own else { return };
        match outcome {
            Ok(record) => {
                own.record = Some(record);
                self.upgrade.leaves = true;
            }
            Err(not_finished) => {
                own.busy = false;
                match not_finished {
                    NotFinished::Refused(refusal) => {
                        let path = self.store.module_path(&sha256);
                        tracing::error!("{}: {refusal}", path.display());
                        self.remove_damaged(sha256, &path);
                    }
                    NotFinished::Failed(failure) => self.disk_failed(&failure),
                }
            }
        }
    }

    /// The broker took a subscription.
    pub(super) async fn handle_subscribed(&mut self, filter: &str) {
        self.upgrade.hears |= filter == self.topics.format(&Topic::Plan);
        self.confirm_own().await;
    }

    /// The broker took a message.
    pub(super) async fn handle_acknowledged(&mut self, receipt: Receipt) {
        self.upgrade.told |= self.reporter.is_state(receipt);
        self.confirm_own().await;
    }

    /// What is on trial is the good one once it hears of plans and has been heard.
    async fn confirm_own(&mut self) {
        if self.upgrade.until.is_none() || !self.upgrade.hears || !self.upgrade.told {
            return;
        }
        let Some(record) = self.actual.own.as_ref().and_then(|own| own.record.clone()) else { return };
        let record = record.confirm();
        if !self.persist(self.store.programs_path(), seal(&record)).await {
            return;
        }
        tracing::info!("this agent has reached the broker: it is the good one now");
        self.upgrade.until = None;
        if let Some(own) = &mut self.actual.own {
            (own.busy, own.record) = (false, Some(record));
        }
        self.untidy = true;
    }

    /// Removes programs that are needed no more.
    pub(super) fn sweep_programs(&self) -> Result<(), Failure> {
        // One that is being staged is in no record yet.
        let Some(own) = self.actual.own.as_ref().filter(|own| !own.busy) else { return Ok(()) };
        let needed = |sha256: &Digest| own.record.as_ref().is_some_and(|record| record.needs(sha256));
        let stored = self.store.stored_programs()?;
        let mut gone = stored.iter().filter(|sha256| !needed(sha256));
        gone.try_for_each(|sha256| self.store.disk().remove(&self.store.program_path(sha256)))
    }

    /// What has not proven itself in its time makes place for what was there before.
    pub(super) async fn look_at_trial(&mut self) {
        if self.upgrade.until.is_none_or(|until| self.around.clock.now() < until) {
            return;
        }
        self.upgrade.until = None;
        let Some(own) = &self.actual.own else { return };
        let Some(record @ Record { trial: Some(Trial { within_ms, .. }), .. }) = &own.record else { return };
        let why = match (self.connected, self.upgrade.told) {
            (false, _) => format!("it did not reach the broker within {within_ms} ms"),
            (true, false) => format!("the broker did not take its report within {within_ms} ms"),
            (true, true) => format!("the broker did not let it hear of plans within {within_ms} ms"),
        };
        tracing::warn!("this agent makes place for the one before: {why}");
        // Were it not written, it would not be started again either: it was never confirmed.
        self.persist(self.store.programs_path(), seal(&record.clone().fail(&why))).await;
        self.upgrade.leaves = true;
    }

    /// *A root ends at once what it bans*: if that is what runs here, it makes place.
    pub(super) fn hold_own_against(&mut self, root: &Root) {
        let Some(Own { app, runs: Some(runs), record: Some(record), .. }) = &self.actual.own else { return };
        let tried = record.trial.as_ref().map(|trial| &trial.program);
        let running = record.good.iter().chain(tried).find(|program| program.sha256 == *runs);
        if running.is_some_and(|program| bans(root, app, program)) {
            tracing::warn!("root {} bans this agent: it makes place for the one that was installed", root.version);
            self.upgrade.leaves = true;
        }
    }

    /// Where the agent that an assignment orders is in its life, and why.
    pub(super) fn own_phase(&self, assignment: &Assignment) -> (Phase, Option<String>) {
        let digest = assignment.release.digest;
        let Some(own) = &self.actual.own else { return (Phase::Fetching, None) };
        if let Some(why) = own.record.as_ref().and_then(|record| record.failure(&digest)) {
            return (Phase::Reverted, Some(why.into()));
        }
        let runs = self.actual.releases.get(&digest).is_some_and(|release| own.runs == Some(release.module.sha256));
        let phase = match (runs, own.busy) {
            (true, true) => Phase::Trial,
            (true, false) => Phase::Running,
            (false, true) => Phase::Starting,
            (false, false) => Phase::Fetching,
        };
        (phase, None)
    }
}

/// *Persist before it is acted on*: the program first, then that it is to be tried.
fn stage(store: &Store, staging: Staging) -> Result<Record, NotFinished> {
    let Staging { from, to, release, record } = staging;
    check_module(&release.module, release.module.bytes, hash_file(&from)?)?;
    store.disk().install_atomically(&from, &to)?;
    let order = ReleaseRef { digest: release.digest(), counter: release.counter };
    let record = record.stage(Program { order, sha256: release.module.sha256 }, release.trial_ms);
    store.disk().write_atomically(&store.programs_path(), &seal(&record))?;
    Ok(record)
}

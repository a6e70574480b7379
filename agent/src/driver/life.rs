//! Apps coming and going: started beside what runs, promoted, confirmed, reverted, drained.

use std::sync::Arc;

use dunlin_core::{
    reconcile::{Ran, Trial},
    wire::{AppName, Assignment, Digest, seal, state::Phase},
};
use dunlin_host::Program;

use super::Driver;
use crate::apps::{App, NotLoaded, Report, Said, Spec, Status};

/// A trial that failed, for those who ask why the old release still runs.
pub(super) struct Reverted {
    pub(super) release: Digest,
    pub(super) why: String,
    pub(super) log: Vec<String>,
}

impl Driver {
    /// A release is ready to start, or can't be.
    pub(super) fn handle_staged(&mut self, spec: Arc<Spec>, outcome: Result<Program, NotLoaded>) {
        let (app, ran) = (&spec.release.app, spec.ran);
        // The plan may have changed while it was compiled.
        if self.actual.apps.get(app) != Some(&ran) {
            return;
        }
        match outcome {
            // A root that came meanwhile may have banned it.
            _ if self.actual.refused.contains(&(app.clone(), ran.release)) => self.keep_what_ran(app),
            Ok(program) => self.start(spec, program),
            Err(not_loaded) => self.handle_not_loaded(app, ran.release, not_loaded),
        }
    }

    /// Starts a release: on trial beside what runs, if anything does, and otherwise in its place.
    fn start(&mut self, spec: Arc<Spec>, program: Program) {
        let app = spec.release.app.clone();
        let version = spec.release.version.clone();
        self.trials.remove(&app);
        if spec.trial && self.apps.contains_key(&app) {
            tracing::info!(%app, %version, "starting on trial, beside what runs");
            self.trials.insert(app, Box::new(App::start(spec, program, true, self.around.clone())));
            return;
        }
        tracing::info!(%app, %version, "starting");
        if !spec.trial {
            self.actual.last.insert(app.clone(), spec.last());
            self.untidy = true;
        }
        // The old one is ended first; its ports stay open, and who connects now waits in them.
        drop(self.apps.remove(&app));
        self.apps.insert(app, Box::new(App::start(spec, program, false, self.around.clone())));
        self.close_ports();
    }

    /// What runs is what is to run: whatever was about to replace it goes.
    pub(super) fn stay(&mut self, app: &AppName, ran: Ran) -> bool {
        let stays = self.apps.get(app).is_some_and(|running| running.spec.ran == ran);
        if stays {
            self.trials.remove(app);
            self.actual.apps.insert(app.clone(), ran);
        }
        stays
    }

    /// A release was not started: what ran before still does.
    fn keep_what_ran(&mut self, app: &AppName) {
        match self.apps.get(app).map(|app| app.spec.ran) {
            Some(ran) => self.actual.apps.insert(app.clone(), ran),
            None => self.actual.apps.remove(app),
        };
    }

    fn handle_not_loaded(&mut self, app: &AppName, release: Digest, not_loaded: NotLoaded) {
        self.keep_what_ran(app);
        match not_loaded {
            NotLoaded::Refused(refusal) => self.refuse_release(app, release, refusal),
            NotLoaded::Damaged { module, path, refusal } => {
                tracing::error!("{}: {refusal}", path.display());
                self.remove_damaged(module, &path);
            }
            NotLoaded::Failed(failure) => {
                self.disk_failed(&failure);
                let module = self.actual.releases.get(&release).map(|release| release.module.sha256);
                if let Some(module) = module.filter(|module| !self.store.has_module(module)) {
                    self.actual.modules.remove(&module);
                }
            }
        }
    }

    /// An app's task has something to say.
    pub(super) async fn handle_app(&mut self, report: Report) {
        let Report { app, ran, said } = report;
        match said {
            Said::Status(status) if status.phase == Phase::Reverted => self.revert(&app, ran, status).await,
            Said::Status(status) => {
                if let Some(running) = self.running(&app, ran) {
                    running.status = status;
                    self.prove(app, ran).await;
                }
            }
            Said::Promoted => self.promote(app, ran),
            Said::Confirmed => {
                self.confirm(&app, ran).await;
                self.prove(app, ran).await;
            }
        }
    }

    pub(super) fn running(&mut self, app: &AppName, ran: Ran) -> Option<&mut App> {
        let trial = self.trials.get_mut(app).filter(|trial| trial.spec.ran == ran);
        let found = trial.or_else(|| self.apps.get_mut(app).filter(|running| running.spec.ran == ran));
        found.map(|app| &mut **app)
    }

    /// It has taken the ports; what had them before finishes what it has begun.
    fn promote(&mut self, app: AppName, ran: Ran) {
        if self.trials.get(&app).is_none_or(|trial| trial.spec.ran != ran) {
            return;
        }
        if let Some(trial) = self.trials.remove(&app)
            && let Some(old) = self.apps.insert(app, trial)
        {
            self.draining.spawn(old.drain());
        }
        self.close_ports();
    }

    /// *Persist before it is acted on*: the record of what is good is on the disk before the record of
    /// the trial goes.
    async fn confirm(&mut self, app: &AppName, ran: Ran) {
        let Some(running) = self.running(app, ran) else { return };
        let last = running.spec.last();
        tracing::info!(%app, release = ran.release.short(), "its trial is over: it is the good one now");
        if self.persist(self.store.last_path(app), seal(&last)).await {
            if let Some(running) = self.running(app, ran) {
                running.on_trial = false;
            }
            self.actual.last.insert(app.clone(), last);
            self.untidy = true;
            self.forget_trial(app);
        }
    }

    /// Back to what was good, which goes on if it has not ended yet, and is started again if it has.
    async fn revert(&mut self, app: &AppName, ran: Ran, status: Status) {
        let Some(plan) = self.plan.as_ref().map(|plan| plan.digest()) else { return };
        if self.trials.get(app).is_some_and(|trial| trial.spec.ran == ran) {
            self.trials.remove(app);
        } else if self.apps.get(app).is_some_and(|running| running.spec.ran == ran) {
            self.apps.remove(app);
        } else {
            return;
        }
        let why = status.why.unwrap_or_default();
        tracing::warn!(%app, release = ran.release.short(), "reverted: {why}");
        // Were it not written, it would be tried once more after a restart.
        let record = Trial { plan, ran, why: Some(why.clone()) };
        self.persist(self.store.trial_path(app), seal(&record)).await;
        self.keep_what_ran(app);
        self.actual.reverted.insert(app.clone(), ran);
        self.reverts.insert(app.clone(), Reverted { release: ran.release, why, log: status.log });
    }

    /// What earlier lives tried in vain, or did not see the end of, under this plan.
    pub(super) fn recall_trials(&mut self) {
        let Some(plan) = self.plan.as_ref().map(|plan| plan.digest()) else { return };
        for Assignment { app, .. } in Arc::clone(&self.assignments).iter() {
            let trial = match self.store.trial(app).map(|bytes| bytes.as_deref().map(Trial::decode)) {
                Ok(Some(Ok(trial))) => trial,
                Ok(None) => continue,
                Ok(Some(Err(refusal))) => {
                    tracing::error!("{}: {refusal}", self.store.trial_path(app).display());
                    continue;
                }
                Err(failure) => {
                    tracing::error!("{failure}");
                    continue;
                }
            };
            let Some(why) = trial.verdict(&plan, self.actual.last.get(app)) else { continue };
            let reverted = Reverted { release: trial.ran.release, why: why.into(), log: Vec::new() };
            self.reverts.insert(app.clone(), reverted);
            self.actual.reverted.insert(app.clone(), trial.ran);
        }
    }

    /// The agent ends because somebody wants it to: what was on trial then may be tried again.
    pub(super) fn forget_trials(&mut self) {
        let unproven = self.apps.iter().chain(&self.trials).filter(|(_, app)| app.on_trial);
        let apps: Vec<_> = unproven.map(|(app, _)| app.clone()).collect();
        apps.iter().for_each(|app| self.forget_trial(app));
    }

    fn forget_trial(&self, app: &AppName) {
        if let Err(failure) = self.store.disk().remove(&self.store.trial_path(app)) {
            tracing::error!("{failure}");
        }
    }
}

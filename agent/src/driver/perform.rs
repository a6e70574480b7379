//! Actions, performed.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use dunlin_core::{
    policy::Setup,
    reconcile::{Action, Last, Ran, Trial, reconcile},
    transfer::Patience,
    trust::{Verified, check_fresh, may_widen, verify_release},
    wire::{AppName, Assignment, Bitmap, Digest, Release, Topic, seal},
};

use super::{Driver, jobs};
use crate::{
    apps::{Spec, reach},
    fetch::Fetch,
};

impl Driver {
    /// Does what there is to do now; afterwards the driver may wait.
    pub(crate) fn settle(&mut self) {
        let assignments = Arc::clone(&self.assignments);
        self.look_at_the_time();
        self.rest();
        self.forget(&assignments);
        self.ask_at = None;
        self.look_at_own(&assignments);
        let references: Vec<_> = assignments.iter().collect();
        for action in reconcile(&references, &self.policy, &self.actual) {
            self.perform(action);
        }
        self.fetch();
        self.listen();
        self.send_lines();
        self.empty_spool();
        self.tidy(&references);
        self.report(&assignments);
    }

    /// Removes a bundle once all that it brought is on the disk.
    fn empty_spool(&mut self) {
        if self.finishing.is_empty()
            && let Some(path) = self.spool.read()
        {
            match self.store.disk().remove(path) {
                Ok(()) => self.spool.emptied(),
                // It is read again at the next start, and changes nothing then.
                Err(failure) => {
                    self.spool.abandon();
                    tracing::error!("{failure}");
                }
            }
        }
    }

    /// Looks what of the plan's releases and modules the store has.
    pub(super) fn recall(&mut self) {
        for Assignment { app, release: order, .. } in Arc::clone(&self.assignments).iter() {
            if self.actual.releases.contains_key(&order.digest) {
                continue;
            }
            match self.store.release(&order.digest) {
                Ok(Some(bytes)) => match verify_release(self.root(), app, order, &bytes) {
                    Ok(release) => self.hold(release),
                    Err(refusal) if refusal.code.condemns_release() => self.refuse_release(app, order.digest, refusal),
                    // It is asked for again; whoever has the right one may send it.
                    Err(refusal) => {
                        tracing::error!("{}: {refusal}", self.store.release_path(&order.digest).display());
                    }
                },
                Ok(None) => {}
                Err(failure) => tracing::error!("{failure}"),
            }
        }
        for Assignment { app, .. } in Arc::clone(&self.assignments).iter() {
            self.recall_good(app);
            self.recall_last(app.clone());
        }
        let modules = self.actual.releases.values().map(|release| release.module.sha256);
        self.actual.modules.extend(modules.filter(|module| self.store.has_module(module)));
    }

    /// What an app was started with last, and that release.
    fn recall_last(&mut self, app: AppName) {
        let last = match self.store.last(&app).map(|bytes| bytes.as_deref().map(Last::decode)) {
            Ok(Some(Ok(last))) => last,
            Ok(None) => return,
            Ok(Some(Err(refusal))) => {
                let why = format!("{}: {refusal}", self.store.last_path(&app).display());
                return self.cannot_read(app, why);
            }
            Err(failure) => return self.cannot_read(app, failure),
        };
        if !self.actual.releases.contains_key(&last.order.digest) {
            match self.store.release(&last.order.digest) {
                Ok(Some(bytes)) => match self.roots.stored_release(&app, &last.order, &bytes) {
                    Ok(release) => self.hold(release),
                    Err(refusal) => {
                        tracing::warn!("{}: {refusal}", self.store.release_path(&last.order.digest).display());
                    }
                },
                Ok(None) => {}
                Err(failure) => tracing::error!("{failure}"),
            }
        }
        self.actual.last.insert(app, last);
    }

    /// Keeps a verified release at hand.
    pub(super) fn hold(&mut self, release: Verified<Release>) {
        let digest = release.digest();
        if may_widen(self.root(), &release) {
            self.actual.narrow.remove(&digest);
        } else {
            self.actual.narrow.insert(digest);
        }
        self.actual.releases.insert(digest, release);
    }

    /// Notices that the plan has gone stale.
    fn look_at_the_time(&mut self) {
        let Some(plan) = &self.plan else { return };
        let fresh = check_fresh(plan, self.now());
        let was_frozen = std::mem::replace(&mut self.actual.frozen, fresh.is_err());
        if let Err(refusal) = fresh
            && !was_frozen
        {
            self.refuse(&refusal);
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::FetchModule { .. } | Action::Run { .. } | Action::Upgrade { .. } if self.is_resting() => {}
            Action::FetchRelease { order, .. } => {
                if self.connected {
                    self.ask_for_release(order.digest);
                }
            }
            Action::FetchModule { release, .. } => self.fetch_module(release),
            Action::Run { app, release, setup, trial } => self.stage(app, release, setup, trial),
            Action::Upgrade { release } => self.stage_own(release),
            Action::Stop { app } => {
                tracing::info!(%app, "stopped: the plan says so");
                self.actual.apps.remove(&app);
                self.apps.remove(&app);
                self.trials.remove(&app);
                self.close_ports();
            }
            Action::Refuse { app, release, refusal } => self.refuse_release(&app, release, refusal),
        }
    }

    /// Subscribes to a release, and says that it is wanted when nobody has it.
    fn ask_for_release(&mut self, release: Digest) {
        let now = self.around.clock.now();
        let patience = self.asked.entry(release).or_insert_with(|| {
            self.link.subscribe(self.topics.format(&Topic::Release(release)));
            // Only spreads when boards ask: without randomness that is just not spread.
            Patience::new(getrandom::u64().unwrap_or_default(), now)
        });
        if patience.is_over(now) {
            // To a depot it is one chunk.
            let wanted = Bitmap::new(1).wanted();
            self.link.publish(self.topics.format(&Topic::Want(release)), wanted.encode(), false);
        }
        self.ask_at = self.ask_at.into_iter().chain([patience.ends()]).min();
    }

    fn fetch_module(&mut self, release: Digest) {
        let Some(release) = self.actual.releases.get(&release) else { return };
        let (module, urls) = (release.module.clone(), release.urls.clone());
        if self.fetches.contains_key(&module.sha256) || self.finishing.contains(&module.sha256) {
            return;
        }
        match Fetch::resume(&self.store, module, &urls, &mut self.downloads) {
            Ok(mut fetch) => {
                if self.connected {
                    fetch.handle_connected(self.retains, self.around.clock.now());
                }
                self.fetches.insert(fetch.digest(), Box::new(fetch));
            }
            Err(failure) => tracing::error!("{failure}"),
        }
    }

    /// Compiles a release on a blocking thread; what runs goes on running meanwhile.
    fn stage(&mut self, app: AppName, release: Digest, setup: Setup, trial: bool) {
        let ran = Ran { release, setup: setup.digest() };
        if self.stay(&app, ran) {
            return;
        }
        let Some(verified) = self.actual.releases.get(&release).cloned() else { return };
        let reach = match reach(&app, &setup) {
            Ok(reach) => reach,
            Err(refusal) => return self.refuse_release(&app, release, refusal),
        };
        let path = self.store.module_path(&verified.module.sha256);
        let spec = Arc::new(Spec { release: verified, ran, setup, reach, path, trial });
        let plan = self.plan.as_ref().map(|plan| plan.digest());
        let record = match plan.filter(|_| trial) {
            Some(plan) => Some((self.store.trial_path(&app), seal(&Trial { plan, ran, why: None }))),
            None if self.actual.last.get(&app).is_some_and(|last| last.ran() == ran) => None,
            None => Some((self.store.last_path(&app), seal(&spec.last()))),
        };
        let (programs, disk) = (self.around.programs.clone(), self.store.disk().clone());
        self.actual.apps.insert(app, ran);
        self.jobs.spawn_blocking(move || jobs::stage(spec, &programs, &disk, record));
    }

    /// Lets fetches ask, and finishes those that have all.
    fn fetch(&mut self) {
        let now = self.around.clock.now();
        for fetch in self.fetches.values_mut() {
            fetch.ask(&mut self.link, &self.topics, now);
        }
        for (module, fetch) in self.fetches.extract_if(.., |_, fetch| fetch.is_complete()) {
            self.finishing.insert(module);
            let part = fetch.into_part();
            self.jobs.spawn_blocking(move || jobs::finish(part, module));
        }
    }

    /// Ends what no assignment needs any more.
    fn forget(&mut self, assignments: &[Assignment]) {
        let mut ordered: BTreeSet<_> = assignments.iter().map(|a| a.release.digest).collect();
        for (release, _) in self.asked.extract_if(.., |release, _| !ordered.contains(release)) {
            self.link.unsubscribe(self.topics.format(&Topic::Release(release)));
        }
        // What ran last may have to run again.
        self.actual.last.retain(|app, _| assignments.iter().any(|assignment| assignment.app == *app));
        ordered.extend(self.actual.last.values().map(|last| last.order.digest));
        self.actual.releases.retain(|release, _| ordered.contains(release));
        self.actual.narrow.retain(|release| ordered.contains(release));
        let modules: BTreeSet<_> = self.actual.releases.values().map(|release| release.module.sha256).collect();
        self.actual.modules.retain(|module| modules.contains(module));
        self.fetches.retain(|module, _| modules.contains(module));
        self.around.records.keep(|app| assignments.iter().any(|assignment| assignment.app == *app));
    }

    /// Closes the ports that no app publishes any more.
    pub(super) fn close_ports(&mut self) {
        let running = |app: &AppName| self.apps.get(app).into_iter().chain(self.trials.get(app));
        // Of an app that is about to be started all stay: who connects meanwhile waits.
        let coming = |app: &AppName| running(app).next().is_none() && self.actual.apps.contains_key(app);
        self.around.ports.keep(|app, protocol, port| {
            coming(app) || running(app).any(|running| running.ports(protocol).contains(&port))
        });
    }

    /// Removes a file that is not what it should be.
    pub(super) fn remove_damaged(&mut self, module: Digest, path: &Path) {
        self.actual.modules.remove(&module);
        if let Err(failure) = self.store.disk().remove(path) {
            tracing::error!("{failure}");
        }
    }
}

//! What is kept of the past: which releases ran well, and what may go because of that.

use std::fmt::Display;

use dunlin_core::{
    collect::{Good, Proven, collect},
    reconcile::Ran,
    wire::{AppName, Assignment, seal},
};

use super::Driver;

impl Driver {
    /// What of an app ran well, as far as an earlier life wrote it down.
    pub(super) fn recall_good(&mut self, app: &AppName) {
        if self.good.contains_key(app) {
            return;
        }
        match self.store.good(app).map(|bytes| bytes.as_deref().map(Good::decode)) {
            Ok(None) => {}
            Ok(Some(Ok(good))) => drop(self.good.insert(app.clone(), good)),
            Ok(Some(Err(refusal))) => {
                let why = format!("{}: {refusal}", self.store.good_path(app).display());
                self.cannot_read(app.clone(), why);
            }
            Err(failure) => self.cannot_read(app.clone(), failure),
        }
    }

    /// Until the app runs well again, it is not known what it needs.
    pub(super) fn cannot_read(&mut self, app: AppName, why: impl Display) {
        tracing::error!("{why}");
        self.unread.insert(app);
    }

    /// If an app is good, that is written down, and then what went before may go.
    pub(super) async fn prove(&mut self, app: AppName, ran: Ran) {
        let Some(running) = self.running(&app, ran).filter(|running| running.is_good()) else { return };
        let proven = Proven { release: ran.release, module: running.spec.release.module.sha256 };
        if let Some(good) = self.good.get(&app).cloned().unwrap_or_default().with(proven) {
            if !self.persist(self.store.good_path(&app), seal(&good)).await {
                return;
            }
            self.good.insert(app.clone(), good);
            self.untidy = true;
        }
        // What it was started with was written before; whatever could not be read, it is known now.
        self.untidy |= self.unread.remove(&app);
    }

    /// Removes what is needed no more. Without a plan that is not known.
    pub(super) fn tidy(&mut self, assignments: &[&Assignment]) {
        if self.plan.is_none() || !self.unread.is_empty() || !std::mem::take(&mut self.untidy) {
            return;
        }
        let tidied = self.store.stored().and_then(|stored| {
            let garbage = collect(assignments, &self.actual, &self.good, &stored);
            self.store.sweep_out(&garbage)?;
            self.sweep_programs()
        });
        if let Err(failure) = tidied {
            tracing::error!("{failure}");
        }
    }
}

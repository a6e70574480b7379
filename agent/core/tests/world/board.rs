//! A board: core's machines, driven as `agent/src/driver` drives them, on a disk that may fail.
//!
//! A mirror of the driver, and a small one: there are no threads (a module is finished and compiled at
//! once), a trial replaces what runs at once, no downloads, no reports and no policy of the device's own.

use std::collections::{BTreeMap, BTreeSet};

use dunlin_core::{
    Moment,
    policy::{Policy, Setup},
    reconcile::{Action, Actual, Last, Ran, reconcile},
    supervise::{Effect, Ended, Supervisor},
    transfer::{Ask, Transfer},
    trust::{self, Accepted, Chain, Verified},
    wire::{
        AppName, Assignment, Bitmap, Digest, Module, Plan, Release, ReleaseRef, Root, Timestamp, Topic, plan::Labels,
        seal, state::Phase,
    },
};

use crate::{
    broker::Broker,
    common::{name, seeded::Chance},
    disk::{Disk, PowerCut},
};

pub(crate) struct Board {
    pub(crate) disk: Disk,
    pub(crate) roots: Chain,
    pub(crate) plan: Option<Verified<Plan>>,
    actual: Actual,
    connected: bool,
    asked: BTreeSet<Digest>,
    transfers: BTreeMap<Digest, Transfer>,
    pub(crate) apps: BTreeMap<AppName, App>,
    /// What was started since the last look, with the bytes of its module.
    pub(crate) started: Vec<(Verified<Release>, Vec<u8>)>,
}

pub(crate) struct App {
    pub(crate) ran: Ran,
    pub(crate) release: Verified<Release>,
    last: Last,
    pub(crate) supervisor: Supervisor,
    pub(crate) up: bool,
}

/// What surrounds a board at a step.
pub(crate) struct Around<'a> {
    pub(crate) broker: &'a mut Broker,
    pub(crate) chance: &'a mut Chance,
    pub(crate) now: Moment,
}

impl Around<'_> {
    /// The time of day, in seconds: the board's clock is right.
    fn clock(&self) -> Timestamp {
        Timestamp(crate::common::NOW.0 + self.now.0 / 1_000)
    }
}

impl Board {
    /// Takes up what the disk has.
    pub(crate) fn start(given: Verified<Root>, disk: Disk) -> Self {
        let mut board = Self {
            disk,
            roots: Chain::new(given),
            plan: None,
            actual: Actual::default(),
            connected: false,
            asked: BTreeSet::new(),
            transfers: BTreeMap::new(),
            apps: BTreeMap::new(),
            started: Vec::new(),
        };
        while let Some(bytes) = board.disk.read(&root_path(board.roots.next_version())) {
            let root = board.roots.verify_next(bytes).expect("what was persisted was verified");
            board.roots.adopt(root);
        }
        let stored = board.disk.read("plan").map(|bytes| board.roots.stored_plan(bytes));
        board.plan = stored.map(|plan| plan.expect("what was persisted was verified"));
        board.recall();
        board
    }

    pub(crate) fn connect(&mut self, around: &mut Around<'_>) {
        self.connected = true;
        self.asked.clear();
        around.broker.subscribe(Topic::Root(self.roots.next_version()), around.now, around.chance);
        around.broker.subscribe(Topic::Plan, around.now, around.chance);
        self.transfers.values_mut().for_each(|transfer| transfer.handle_connected(true, around.now));
    }

    pub(crate) fn disconnect(&mut self) {
        self.connected = false;
        self.transfers.values_mut().for_each(Transfer::handle_disconnected);
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.connected
    }

    pub(crate) fn handle(&mut self, topic: &Topic, bytes: &[u8], around: &mut Around<'_>) -> Result<(), PowerCut> {
        match topic {
            Topic::Root(version) if *version == self.roots.next_version() => self.handle_root(bytes, around),
            Topic::Plan => self.handle_plan(bytes, around),
            Topic::Release(digest) => self.handle_release(digest, bytes, around),
            Topic::Blob(module, index) => self.handle_chunk(module, *index, bytes, around),
            // Roots that are not next, and what boards themselves say.
            Topic::Root(_)
            | Topic::Want(_)
            | Topic::Online(_)
            | Topic::State(_)
            | Topic::Event(_)
            | Topic::Log(..)
            | Topic::Follow(..)
            | Topic::Out(..)
            | Topic::In(..)
            | Topic::Echo(_) => Ok(()),
        }
    }

    fn handle_root(&mut self, bytes: &[u8], around: &mut Around<'_>) -> Result<(), PowerCut> {
        let Ok(root) = self.roots.verify_next(bytes) else { return Ok(()) };
        self.disk.write_atomically(&root_path(root.version), bytes, around.chance)?;
        around.broker.unsubscribe(&Topic::Root(root.version));
        self.roots.adopt(root);
        around.broker.subscribe(Topic::Root(self.roots.next_version()), around.now, around.chance);
        let banned = self.apps.values().map(|app| &app.release);
        let banned = banned.filter(|release| trust::stands(self.roots.current(), release).is_err());
        self.actual.banned = banned.map(Verified::digest).collect();
        self.actual.releases.clear();
        self.actual.refused.clear();
        self.recall();
        for release in std::mem::take(&mut self.asked) {
            around.broker.unsubscribe(&Topic::Release(release));
        }
        around.broker.subscribe(Topic::Plan, around.now, around.chance);
        Ok(())
    }

    fn handle_plan(&mut self, bytes: &[u8], around: &mut Around<'_>) -> Result<(), PowerCut> {
        let last = self.plan.as_ref().and_then(|plan| plan.mark_under(self.roots.current()));
        let now = trust::now(around.clock(), self.plan.iter().map(|plan| plan.issued));
        if let Ok(Accepted::New(plan)) = trust::accept_plan(self.roots.current(), last.as_ref(), bytes, now) {
            self.disk.write_atomically("plan", bytes, around.chance)?;
            self.plan = Some(plan);
            self.actual.refused.clear();
            self.actual.reverted.clear();
            self.recall();
        }
        Ok(())
    }

    fn handle_release(&mut self, digest: &Digest, bytes: &[u8], around: &mut Around<'_>) -> Result<(), PowerCut> {
        if self.actual.releases.contains_key(digest) {
            return Ok(());
        }
        for Assignment { app, release: order, .. } in self.assignments() {
            if order.digest == *digest
                && let Ok(release) = trust::verify_release(self.roots.current(), &app, &order, bytes)
            {
                self.disk.write_atomically(&format!("releases/{digest}"), bytes, around.chance)?;
                self.actual.releases.insert(*digest, release);
                self.recall();
                return Ok(());
            }
        }
        Ok(())
    }

    fn handle_chunk(
        &mut self,
        module: &Digest,
        index: u32,
        bytes: &[u8],
        around: &mut Around<'_>,
    ) -> Result<(), PowerCut> {
        let Some(transfer) = self.transfers.get_mut(module) else { return Ok(()) };
        if let Ok(Some(offset)) = transfer.handle_chunk(index, bytes, around.now) {
            self.disk.write_at(&part_path(module), offset as usize, bytes, around.chance)?;
        }
        Ok(())
    }

    /// Does what there is to do now.
    pub(crate) fn settle(&mut self, around: &mut Around<'_>) -> Result<(), PowerCut> {
        loop {
            let assignments = self.assignments();
            let now = trust::now(around.clock(), self.plan.iter().map(|plan| plan.issued));
            self.actual.frozen = self.plan.as_ref().is_some_and(|plan| trust::check_fresh(plan, now).is_err());
            self.forget(&assignments, around);
            let references: Vec<_> = assignments.iter().collect();
            for action in reconcile(&references, &Policy::default(), &self.actual) {
                self.perform(action, around)?;
            }
            if !self.fetch(around)? {
                break;
            }
        }
        self.supervise(around)
    }

    fn perform(&mut self, action: Action, around: &mut Around<'_>) -> Result<(), PowerCut> {
        match action {
            Action::FetchRelease { order, .. } => {
                if self.connected && self.asked.insert(order.digest) {
                    around.broker.subscribe(Topic::Release(order.digest), around.now, around.chance);
                }
            }
            Action::FetchModule { release, .. } => {
                let module = self.actual.releases[&release].module.clone();
                if !self.transfers.contains_key(&module.sha256) {
                    let mut transfer = Transfer::new(module.clone(), self.present(&module), around.chance.next());
                    if self.connected {
                        transfer.handle_connected(true, around.now);
                    }
                    self.transfers.insert(module.sha256, transfer);
                }
            }
            Action::Run { app, release, setup, trial } => self.run(app, &release, setup, trial, around)?,
            Action::Stop { app } => {
                self.actual.apps.remove(&app);
                self.apps.remove(&app);
            }
            Action::Upgrade { .. } => unreachable!("no plan of this world orders an agent"),
            Action::Refuse { app, release, .. } => drop(self.actual.refused.insert((app, release))),
        }
        Ok(())
    }

    fn run(
        &mut self,
        app: AppName,
        digest: &Digest,
        setup: Setup,
        trial: bool,
        around: &mut Around<'_>,
    ) -> Result<(), PowerCut> {
        let release = self.actual.releases[digest].clone();
        let path = blob_path(&release.module.sha256);
        let bytes = self.disk.read(&path).expect("it was there").to_vec();
        if trust::check_module(&release.module, bytes.len() as u64, Digest::of(&bytes)).is_err() {
            self.actual.modules.remove(&release.module.sha256);
            self.disk.remove(&path);
            return Ok(());
        }
        let ran = Ran { release: *digest, setup: setup.digest() };
        let order = ReleaseRef { digest: *digest, counter: release.counter };
        let supervisor = Supervisor::new(&setup, trial, around.chance.next(), around.now);
        let last = Last { order, asks: release.asks.clone(), setup };
        if !trial {
            self.disk.write_atomically(&format!("last/{app}"), &seal(&last), around.chance)?;
            self.actual.last.insert(app.clone(), last.clone());
        }
        self.actual.apps.insert(app.clone(), ran);
        self.started.push((release.clone(), bytes));
        self.apps.insert(app, App { ran, release, last, supervisor, up: false });
        Ok(())
    }

    /// Asks for chunks. True if a module was finished.
    fn fetch(&mut self, around: &mut Around<'_>) -> Result<bool, PowerCut> {
        let Around { broker, chance, now } = around;
        for (module, transfer) in &mut self.transfers {
            while let Some(ask) = transfer.poll_ask(*now) {
                match ask {
                    Ask::Subscribe(index) => broker.subscribe(Topic::Blob(*module, index), *now, chance),
                    Ask::SubscribeAll | Ask::UnsubscribeAll => unreachable!("this broker keeps retained messages"),
                    Ask::Unsubscribe(index) => broker.unsubscribe(&Topic::Blob(*module, index)),
                    Ask::Want(_) => broker.answer(*module, *now, chance),
                }
            }
        }
        let complete = self.transfers.iter().find(|(_, transfer)| transfer.is_complete());
        let Some(module) = complete.map(|(_, transfer)| transfer.module().clone()) else { return Ok(false) };
        self.transfers.remove(&module.sha256);
        let part = part_path(&module.sha256);
        let bytes = self.disk.read(&part).expect("its chunks were written");
        trust::check_module(&module, bytes.len() as u64, Digest::of(bytes)).expect("its chunks hash, and so does it");
        self.disk.finish(&part, &blob_path(&module.sha256), chance)?;
        self.actual.modules.insert(module.sha256);
        Ok(true)
    }

    fn supervise(&mut self, around: &mut Around<'_>) -> Result<(), PowerCut> {
        for (name, app) in &mut self.apps {
            if app.supervisor.poll_timeout().is_some_and(|at| at <= around.now) {
                app.supervisor.handle_timeout(around.now);
            }
            while let Some(effect) = app.supervisor.poll_effect() {
                match effect {
                    Effect::Launch => {
                        app.up = true;
                        app.supervisor.handle_accepting(around.now);
                    }
                    Effect::Kill => app.up = false,
                    Effect::Probe => app.supervisor.handle_probe(Ok(()), around.now),
                    Effect::Listen => app.supervisor.handle_wanted(around.now),
                    Effect::Promote => {}
                    Effect::Confirm => {
                        self.disk.write_atomically(&format!("last/{name}"), &seal(&app.last), around.chance)?;
                        self.actual.last.insert(name.clone(), app.last.clone());
                    }
                }
            }
        }
        for (name, app) in self.apps.extract_if(.., |_, app| app.supervisor.phase() == Phase::Reverted) {
            self.actual.apps.remove(&name);
            self.actual.reverted.insert(name, app.ran);
        }
        Ok(())
    }

    /// A guest dies.
    pub(crate) fn crash(&mut self, now: Moment) {
        for app in self.apps.values_mut().filter(|app| app.up) {
            app.up = false;
            app.supervisor.handle_ended(Ended { well: false, why: "it crashed".into() }, now);
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Moment> {
        let apps = self.apps.values().filter_map(|app| app.supervisor.poll_timeout());
        self.transfers.values().filter_map(Transfer::poll_timeout).chain(apps).min()
    }

    pub(crate) fn assignments(&self) -> Vec<Assignment> {
        let mine = self.plan.as_ref().map(|plan| plan.for_device(&name("pi-1"), &Labels::new()));
        mine.unwrap_or_default().into_iter().cloned().collect()
    }

    fn recall(&mut self) {
        for Assignment { app, release: order, .. } in self.assignments() {
            let stored = self.disk.read(&format!("releases/{}", order.digest));
            let verified = stored.map(|bytes| trust::verify_release(self.roots.current(), &app, &order, bytes));
            match verified {
                Some(Ok(release)) => drop(self.actual.releases.insert(order.digest, release)),
                Some(Err(refusal)) if refusal.code.condemns_release() => {
                    self.actual.refused.insert((app.clone(), order.digest));
                }
                Some(Err(_)) | None => {}
            }
            if let Some(bytes) = self.disk.read(&format!("last/{app}")) {
                let last = Last::decode(bytes).expect("it is written at once");
                let stored = self.disk.read(&format!("releases/{}", last.order.digest));
                if let Some(Ok(held)) = stored.map(|bytes| self.roots.stored_release(&app, &last.order, bytes)) {
                    self.actual.releases.entry(last.order.digest).or_insert(held);
                }
                self.actual.last.insert(app, last);
            }
        }
        let modules = self.actual.releases.values().map(|release| release.module.sha256);
        self.actual.modules.extend(modules.filter(|module| self.disk.read(&blob_path(module)).is_some()));
    }

    fn forget(&mut self, assignments: &[Assignment], around: &mut Around<'_>) {
        let mut ordered: BTreeSet<_> = assignments.iter().map(|a| a.release.digest).collect();
        for release in self.asked.extract_if(.., |release| !ordered.contains(release)) {
            around.broker.unsubscribe(&Topic::Release(release));
        }
        self.actual.last.retain(|app, _| assignments.iter().any(|assignment| assignment.app == *app));
        ordered.extend(self.actual.last.values().map(|last| last.order.digest));
        self.actual.releases.retain(|release, _| ordered.contains(release));
        let modules: BTreeSet<_> = self.actual.releases.values().map(|release| release.module.sha256).collect();
        self.actual.modules.retain(|module| modules.contains(module));
        self.transfers.retain(|module, _| modules.contains(module));
    }

    /// The chunks of a module that are on the disk and hash.
    fn present(&self, module: &Module) -> Bitmap {
        let mut have = Bitmap::new(module.count());
        let part = self.disk.read(&part_path(&module.sha256)).unwrap_or_default();
        for index in 0..module.count() {
            let (offset, length) = module.range(index).unwrap();
            let bytes = part.get(offset as usize..offset as usize + length);
            if bytes.is_some_and(|bytes| trust::check_chunk(module, index, bytes).is_ok()) {
                have.set(index);
            }
        }
        have
    }
}

fn root_path(version: u64) -> String {
    format!("roots/{version}")
}

fn blob_path(module: &Digest) -> String {
    format!("blobs/{module}")
}

fn part_path(module: &Digest) -> String {
    format!("blobs/{module}.part")
}

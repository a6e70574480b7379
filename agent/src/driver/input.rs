//! Inputs, handled: each is held against the rules before anything changes.

use bytes::Bytes;
use dunlin_core::{
    Refusal,
    trust::{Accepted, Verified, accept_plan, verify_release},
    wire::{AppName, Digest, Plan, Topic},
};

use super::{
    Driver, Input,
    jobs::{Done, NotStaged},
};
use crate::{
    apps::{App, Report, Spec},
    fetch::BadChunk,
    link::{Abilities, Event},
    store::{NotFinished, write_atomically},
};

impl Driver {
    pub(crate) async fn handle(&mut self, input: Input) {
        match input {
            Input::Link(event) => self.handle_link(event).await,
            Input::App(report) => self.handle_app(report),
            Input::Job(done) => self.handle_job(done),
            Input::Time => {}
        }
    }

    async fn handle_link(&mut self, event: Event) {
        match event {
            Event::Connected(abilities) => self.handle_connected(abilities),
            Event::Disconnected { why, retry } => {
                tracing::warn!(retry_ms = retry.as_millis() as u64, "no broker: {why}");
                self.around.watch.link(Err(&why));
                self.connected = false;
                self.fetches.values_mut().for_each(|fetch| fetch.handle_disconnected());
            }
            Event::Subscribed { outcome: Ok(()), .. } | Event::Acknowledged(_) => {}
            Event::Subscribed { filter, outcome: Err(why) } => tracing::error!(filter, "no subscription: {why}"),
            Event::Undeliverable { topic, why, .. } => tracing::error!(topic, "a message is given up: {why}"),
            Event::Message { topic, payload } => self.handle_message(&topic, payload).await,
        }
    }

    fn handle_connected(&mut self, abilities: Abilities) {
        tracing::info!(fleet = %self.root.fleet, device = %self.device, "connected");
        if !abilities.retain {
            tracing::warn!("this broker keeps no retained messages: plans arrive only while this device is connected");
        }
        self.around.watch.link(Ok(()));
        self.connected = true;
        self.asked.clear();
        self.link.subscribe(self.topics.format(&Topic::Plan));
        self.reporter.online(&mut self.link);
        let now = self.around.clock.now();
        self.fetches.values_mut().for_each(|fetch| fetch.handle_connected(now));
    }

    async fn handle_message(&mut self, topic: &str, payload: Bytes) {
        match self.topics.parse(topic) {
            Some(Topic::Plan) => self.handle_plan(&payload).await,
            Some(Topic::Release(digest)) => self.handle_release(digest, payload).await,
            Some(Topic::Blob(module, index)) => self.handle_chunk(module, index, &payload),
            // Nothing else was subscribed to: a broker that sends it anyway is not listened to.
            _ => tracing::debug!(topic, "not asked for"),
        }
    }

    async fn handle_plan(&mut self, bytes: &[u8]) {
        // An empty retained message is how MQTT says that there is none.
        if bytes.is_empty() {
            return;
        }
        let last = self.plan.as_ref().map(Verified::mark);
        match accept_plan(&self.root, last.as_ref(), bytes, self.now()) {
            Ok(Accepted::Same) => {}
            Ok(Accepted::New(plan)) => self.accept(plan).await,
            Err(refusal) => self.refuse(&refusal),
        }
    }

    /// *Persist last: trusted state is written only after every check passed; it is persisted
    /// before it is acted on.*
    async fn accept(&mut self, plan: Verified<Plan>) {
        let (path, bytes) = (self.store.plan_path(), plan.to_bytes());
        let written = tokio::task::spawn_blocking(move || write_atomically(&path, &bytes)).await;
        match written {
            Ok(Ok(())) => {
                let (sequence, now) = (plan.sequence, self.now());
                self.reporter.accepted(&mut self.link, sequence, now);
                self.obey(plan);
            }
            Ok(Err(failure)) => tracing::error!("plan {} is not obeyed: {failure}", plan.sequence),
            Err(error) => tracing::error!("plan {} is not obeyed: {error}", plan.sequence),
        }
    }

    async fn handle_release(&mut self, digest: Digest, bytes: Bytes) {
        if bytes.is_empty() || self.actual.releases.contains_key(&digest) {
            return;
        }
        let mut refusal = None;
        for assignment in self.assignments().iter().filter(|a| a.release.digest == digest) {
            match verify_release(&self.root, &assignment.app, &assignment.release, &bytes) {
                Ok(release) => {
                    let path = self.store.release_path(&digest);
                    let stored = bytes.clone();
                    let written = tokio::task::spawn_blocking(move || write_atomically(&path, &stored)).await;
                    if let Ok(Err(failure)) = written {
                        // It is held in memory; after a restart it is asked for again.
                        tracing::error!("{failure}");
                    }
                    self.actual.releases.insert(digest, release);
                    self.recall();
                    return;
                }
                Err(error) => refusal = Some((assignment.app.clone(), error)),
            }
        }
        if let Some((app, refusal)) = refusal {
            self.refuse_ordered(&app, digest, refusal);
        }
    }

    /// What stands under the topic of an ordered release and is refused. Bytes that are not the
    /// ordered ones say nothing about the release itself: the right ones may still come.
    fn refuse_ordered(&mut self, app: &AppName, digest: Digest, refusal: Refusal) {
        if refusal.code.condemns_release() {
            self.refuse_release(app, digest, refusal);
        } else {
            self.refuse(&refusal);
        }
    }

    fn handle_chunk(&mut self, module: Digest, index: u32, bytes: &[u8]) {
        let now = self.around.clock.now();
        let Some(fetch) = self.fetches.get_mut(&module) else { return };
        if bytes.is_empty() {
            return;
        }
        match fetch.handle_chunk(index, bytes, now) {
            Ok(()) => {}
            Err(BadChunk::Refused(refusal)) => self.refuse(&refusal),
            Err(BadChunk::Failed(failure)) => {
                // Begun again from what the disk did take, at the next change.
                tracing::error!("{failure}");
                self.fetches.remove(&module);
            }
        }
    }

    fn handle_app(&mut self, report: Report) {
        if let Some(app) = self.apps.get_mut(&report.app).filter(|app| app.ran == report.ran) {
            app.status = report.status;
        }
    }

    fn handle_job(&mut self, done: Done) {
        match done {
            Done::Finished { module, outcome } => {
                self.finishing.remove(&module);
                match outcome {
                    Ok(()) => drop(self.actual.modules.insert(module)),
                    Err(NotFinished::Refused(refusal)) => self.refuse_module(module, &refusal),
                    Err(NotFinished::Failed(failure)) => tracing::error!("{failure}"),
                }
            }
            Done::Staged { app, ran, outcome } => {
                // The plan may have changed while it was compiled.
                if self.actual.apps.get(&app) != Some(&ran) {
                    return;
                }
                match outcome {
                    Ok(spec) => self.start(*spec),
                    Err(not_staged) => self.handle_not_staged(&app, ran.release, not_staged),
                }
            }
            Done::Lost => tracing::error!("a job ended without a result"),
        }
    }

    fn start(&mut self, spec: Spec) {
        let app = spec.app.clone();
        tracing::info!(%app, version = %spec.version, "starting");
        // The old one is ended first; its ports stay open, and who connects now waits in them.
        drop(self.apps.remove(&app));
        self.apps.insert(app, App::start(spec, self.around.clone()));
        self.close_ports();
    }

    fn handle_not_staged(&mut self, app: &AppName, release: Digest, not_staged: NotStaged) {
        // What ran before still does.
        match self.apps.get(app).map(|app| app.ran) {
            Some(ran) => self.actual.apps.insert(app.clone(), ran),
            None => self.actual.apps.remove(app),
        };
        match not_staged {
            NotStaged::Refused(refusal) => self.refuse_release(app, release, refusal),
            NotStaged::Damaged { module, path, refusal } => {
                tracing::error!("{}: {refusal}", path.display());
                self.remove_damaged(module, &path);
            }
            NotStaged::Failed(failure) => {
                tracing::error!("{failure}");
                if let Some(release) = self.actual.releases.get(&release) {
                    self.actual.modules.remove(&release.module.sha256);
                }
            }
        }
    }

    /// A release whose chunks hash and whose whole doesn't contradicts itself.
    fn refuse_module(&mut self, module: Digest, refusal: &Refusal) {
        let of_module = self.actual.releases.iter().filter(|(_, release)| release.module.sha256 == module);
        let releases: Vec<_> = of_module.map(|(digest, release)| (release.app.clone(), *digest)).collect();
        for (app, release) in releases {
            self.refuse_release(&app, release, refusal.clone());
        }
    }
}

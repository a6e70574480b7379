//! Inputs, handled: each is held against the rules before anything changes.

use std::{path::PathBuf, sync::Arc};

use bytes::Bytes;
use dunlin_core::{
    Refusal,
    trust::{Accepted, Verified, accept_plan, stands, verify_release},
    wire::{AppName, Digest, Plan, Root, Topic, bundle::Frame},
};

use super::{Driver, Input, jobs::Done};
use crate::{
    bundle::NotRead,
    fetch::{BadChunk, Brought},
    link::{Abilities, Event},
    store::NotFinished,
};

impl Driver {
    pub(crate) async fn handle(&mut self, input: Input) {
        match input {
            Input::Link(event) => self.handle_link(event).await,
            Input::App(report) => self.handle_app(report).await,
            Input::Message(message) => self.handle_outgoing(message),
            Input::Job(done) => self.handle_job(done),
            Input::Download(brought) => self.handle_download(brought),
            Input::Bundle(frame) => self.handle_bundle(frame).await,
            Input::Time => self.look_at_trial().await,
        }
    }

    async fn handle_link(&mut self, event: Event) {
        match event {
            Event::Connected(abilities) => self.handle_connected(abilities),
            Event::Disconnected { why, retry } => {
                tracing::warn!(retry_ms = retry.as_millis() as u64, "no broker: {why}");
                self.around.watch.link(Err(&why));
                self.view.link(Err(&why), self.now());
                self.connected = false;
                self.follows.handle_disconnected();
                self.fetches.values_mut().for_each(|fetch| fetch.handle_disconnected());
            }
            Event::Subscribed { filter, outcome: Ok(()) } => self.handle_subscribed(&filter).await,
            Event::Acknowledged(receipt) => self.handle_acknowledged(receipt).await,
            Event::Subscribed { filter, outcome: Err(why) } => tracing::error!(filter, "no subscription: {why}"),
            Event::Undeliverable { topic, why, .. } => tracing::error!(topic, "a message is given up: {why}"),
            Event::Message { topic, payload } => self.handle_message(&topic, payload).await,
        }
    }

    fn handle_connected(&mut self, abilities: Abilities) {
        tracing::info!(fleet = %self.root().fleet, device = %self.device, "connected");
        if !abilities.retain {
            tracing::warn!(
                "this broker keeps no retained messages: what it does not pass on just now, a depot must have"
            );
        }
        self.around.watch.link(Ok(()));
        self.view.link(Ok(()), self.now());
        (self.connected, self.retains) = (true, abilities.retain);
        self.asked.clear();
        self.heard.clear();
        self.link.subscribe(self.topics.format(&Topic::Root(self.roots.next_version())));
        self.link.subscribe(self.topics.format(&Topic::Plan));
        if self.policy.follow {
            self.link.subscribe(self.topics.every_follow(&self.device));
        }
        self.reporter.online(&mut self.link);
        let now = self.around.clock.now();
        self.fetches.values_mut().for_each(|fetch| fetch.handle_connected(abilities.retain, now));
    }

    async fn handle_message(&mut self, topic: &str, payload: Bytes) {
        match self.topics.parse(topic) {
            Some(Topic::Root(version)) if version == self.roots.next_version() => self.handle_root(&payload).await,
            Some(Topic::Plan) => self.handle_plan(&payload).await,
            Some(Topic::Release(digest)) => self.handle_release(digest, payload).await,
            Some(Topic::Blob(module, index)) => self.handle_chunk(module, index, &payload),
            Some(Topic::Follow(device, app)) if device == self.device => self.handle_follow(&app, &payload),
            Some(Topic::In(device, app, name)) if device == self.device => self.handle_incoming(&app, &name, &payload),
            // Nothing else was subscribed to: a broker that sends it anyway is not listened to.
            _ => tracing::debug!(topic, "not asked for"),
        }
    }

    async fn handle_root(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let root = match self.roots.verify_next(bytes) {
            Ok(root) => root,
            Err(refusal) => return self.refuse_message(&refusal),
        };
        let (path, bytes) = (self.store.root_path(root.version), root.to_bytes());
        if self.persist(path, bytes).await {
            self.adopt(root);
        }
    }

    /// A root that was persisted is in force: everything is held against it anew.
    fn adopt(&mut self, root: Verified<Root>) {
        let (version, now) = (root.version, self.now());
        self.link.unsubscribe(self.topics.format(&Topic::Root(version)));
        self.roots.adopt(root);
        self.reporter.rooted(&mut self.link, version, now);
        // What this root bans ends now. What it only does not know the keys of any more goes on.
        let running = self.apps.values().map(|app| &app.spec.release);
        let banned = running.filter(|release| stands(self.roots.current(), release).is_err());
        self.actual.banned = banned.map(Verified::digest).collect();
        self.hold_own_against(&self.root().clone());
        self.actual.releases.clear();
        self.reconsider();
        // What was refused under the last root may be good under this one.
        self.ask_anew();
    }

    async fn handle_plan(&mut self, bytes: &[u8]) {
        // An empty retained message is how MQTT says that there is none.
        if bytes.is_empty() {
            return;
        }
        let last = self.plan.as_ref().and_then(|plan| plan.mark_under(self.root()));
        match accept_plan(self.root(), last.as_ref(), bytes, self.now()) {
            Ok(Accepted::Same) => {}
            Ok(Accepted::New(plan)) => self.accept(plan).await,
            Err(refusal) => self.refuse_message(&refusal),
        }
    }

    /// *Persist last: trusted state is written only after every check passed; it is persisted
    /// before it is acted on.*
    async fn accept(&mut self, plan: Verified<Plan>) {
        if self.persist(self.store.plan_path(), plan.to_bytes()).await {
            let (sequence, now) = (plan.sequence, self.now());
            self.reporter.accepted(&mut self.link, sequence, now);
            self.obey(plan);
        }
    }

    /// Writes a file that is to outlast a power cut; says why if it can't.
    pub(super) async fn persist(&mut self, path: PathBuf, bytes: Vec<u8>) -> bool {
        let disk = self.store.disk().clone();
        match tokio::task::spawn_blocking(move || disk.write_atomically(&path, &bytes)).await {
            Ok(Ok(())) => {
                self.disk_works();
                return true;
            }
            Ok(Err(failure)) => self.disk_failed(&failure),
            Err(error) => tracing::error!("a file was not written: {error}"),
        }
        false
    }

    async fn handle_release(&mut self, digest: Digest, bytes: Bytes) {
        if bytes.is_empty() || self.actual.releases.contains_key(&digest) {
            return;
        }
        let mut refusal = None;
        for assignment in Arc::clone(&self.assignments).iter().filter(|a| a.release.digest == digest) {
            match verify_release(self.root(), &assignment.app, &assignment.release, &bytes) {
                Ok(release) => {
                    // Were it not written, it is held in memory, and asked for again after a restart.
                    self.persist(self.store.release_path(&digest), bytes.to_vec()).await;
                    self.hold(release);
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
            self.refuse_message(&refusal);
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
            Err(BadChunk::Refused(refusal)) => self.refuse_message(&refusal),
            Err(BadChunk::Failed(failure)) => {
                // Begun again from what the disk did take, when it has rested.
                self.disk_failed(&failure);
                self.fetches.remove(&module);
            }
        }
    }

    fn handle_download(&mut self, brought: Brought) {
        match brought {
            Brought::Chunk { module, index, bytes } => self.handle_chunk(module, index, &bytes),
            Brought::Refused(refusal) => self.refuse_message(&refusal),
            Brought::Over { module } => {
                if let Some(fetch) = self.fetches.get_mut(&module) {
                    fetch.handle_download_over();
                }
            }
        }
    }

    /// What a bundle brings is held against the rules as what a broker brings.
    async fn handle_bundle(&mut self, frame: Result<Frame, NotRead>) {
        match frame {
            Ok(Frame::Root { version, envelope }) if version == self.roots.next_version() => {
                self.handle_root(&envelope).await;
            }
            Ok(Frame::Root { .. }) => {}
            Ok(Frame::Plan { envelope }) => self.handle_plan(&envelope).await,
            Ok(Frame::Release { digest, envelope }) => self.handle_release(digest, envelope.into()).await,
            Ok(Frame::Chunk { module, index, bytes }) => self.handle_chunk(module, index, &bytes),
            Ok(Frame::End) => {
                tracing::info!("the bundle that was imported is read");
                self.spool.finish();
            }
            Err(NotRead::Refused { refusal, .. }) => {
                self.refuse(&refusal);
                self.spool.finish();
            }
            Err(NotRead::Failed(failure)) => {
                tracing::error!("{failure}");
                self.spool.finish();
            }
        }
    }

    fn handle_job(&mut self, done: Done) {
        match done {
            Done::Finished { module, outcome } => {
                self.finishing.remove(&module);
                match outcome {
                    Ok(()) => {
                        self.disk_works();
                        self.actual.modules.insert(module);
                    }
                    Err(NotFinished::Refused(refusal)) => self.refuse_module(module, &refusal),
                    Err(NotFinished::Failed(failure)) => self.disk_failed(&failure),
                }
            }
            Done::Staged { spec, outcome } => self.handle_staged(spec, outcome),
            Done::Known(outcome) => self.handle_known(outcome),
            Done::Programmed { sha256, outcome } => self.handle_programmed(sha256, outcome),
            Done::Written(Ok(())) => self.disk_works(),
            Done::Written(Err(failure)) => self.disk_failed(&failure),
            Done::Lost => tracing::error!("a job ended without a result"),
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

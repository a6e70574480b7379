//! What the device says of itself: `online`, `state` and `event`.

use std::{collections::BTreeMap, sync::Arc};

use dunlin_core::{
    Bucket, Moment, Refusal, limits,
    wire::{
        AppName, DeviceId, Timestamp, Topic, Topics,
        state::{AppState, DeviceState, Event, Phase, Refused, What},
    },
};

use crate::{
    agent::Watch,
    door::View,
    home_assistant::Discovery,
    link::{Link, Receipt, Will},
};

/// Tells the broker and the watch what changed, and only that.
pub(crate) struct Reporter {
    device: DeviceId,
    topics: Topics,
    watch: Arc<dyn Watch>,
    view: View,
    apps: BTreeMap<AppName, AppState>,
    refused: Option<Refused>,
    /// How many more refusals are reported, and how many were not.
    refusals: Bucket,
    unreported: u64,
    /// The last state that was published, but for its time.
    published: Option<DeviceState>,
    /// Stands for it.
    receipt: Option<Receipt>,
    /// What Home Assistant was told, where it is to be.
    home_assistant: Option<Discovery>,
}

/// Payloads of `online`.
const ONLINE: &str = "1";
const OFFLINE: &str = "0";

impl Reporter {
    pub(crate) fn new(
        device: DeviceId,
        topics: Topics,
        watch: Arc<dyn Watch>,
        view: View,
        home_assistant: Option<Discovery>,
    ) -> Self {
        let refusals = Bucket::new(limits::REFUSALS_AT_ONCE, limits::REFUSALS_PER_SECOND, Moment(0));
        Self {
            device,
            topics,
            watch,
            view,
            apps: BTreeMap::new(),
            refused: None,
            refusals,
            unreported: 0,
            published: None,
            receipt: None,
            home_assistant,
        }
    }

    /// What the broker is to say when we are gone without a word.
    pub(crate) fn will(device: &DeviceId, topics: &Topics) -> Will {
        Will { topic: topics.format(&Topic::Online(device.clone())), payload: OFFLINE.into() }
    }

    /// A session began: the broker may have forgotten everything.
    pub(crate) fn online(&mut self, link: &mut Link) {
        link.publish(self.topics.format(&Topic::Online(self.device.clone())), ONLINE, true);
        self.published = None;
        self.home_assistant.iter_mut().for_each(Discovery::forget);
    }

    pub(crate) fn offline(&self, link: &mut Link) {
        link.publish(self.topics.format(&Topic::Online(self.device.clone())), OFFLINE, true);
    }

    /// A plan was accepted: what was refused before it is history.
    pub(crate) fn accepted(&mut self, link: &mut Link, sequence: u64, now: Timestamp) {
        tracing::info!(sequence, "plan accepted");
        self.refused = None;
        self.event(link, What::Accepted { sequence }, now);
    }

    /// A new root is in force.
    pub(crate) fn rooted(&mut self, link: &mut Link, version: u64, now: Timestamp) {
        tracing::info!(version, "root accepted");
        self.event(link, What::Root { version }, now);
    }

    /// A message was refused. Who sends rubbish does not decide how much is written and said.
    pub(crate) fn refused_message(&mut self, link: &mut Link, refusal: &Refusal, moment: Moment, now: Timestamp) {
        self.view.refusal(refusal.code);
        if !self.is_news(refusal) {
            return;
        }
        if !self.refusals.take(moment) {
            self.unreported += 1;
            return;
        }
        let unreported = std::mem::take(&mut self.unreported);
        if unreported > 0 {
            tracing::warn!("{unreported} refusals were not reported: there were too many of them");
        }
        self.tell_refused(link, refusal, now);
    }

    /// Something was refused. The same thing said again is not news.
    pub(crate) fn refused(&mut self, link: &mut Link, refusal: &Refusal, now: Timestamp) {
        self.view.refusal(refusal.code);
        if self.is_news(refusal) {
            self.tell_refused(link, refusal, now);
        }
    }

    fn tell_refused(&mut self, link: &mut Link, refusal: &Refusal, now: Timestamp) {
        let (code, why) = (refusal.code.to_string(), refusal.sentence.clone());
        tracing::warn!(code, "refused: {why}");
        let refused = Refused { code: code.clone(), why: why.clone(), at: now };
        self.watch.refused(&refused);
        self.refused = Some(refused);
        self.event(link, What::Refused { code, why }, now);
    }

    fn is_news(&self, refusal: &Refusal) -> bool {
        let said = |last: &Refused| last.code == refusal.code.as_str() && last.why == refusal.sentence;
        !self.refused.as_ref().is_some_and(said)
    }

    /// Completes a state with what only this module remembers, and publishes it if it is news.
    pub(crate) fn state(&mut self, link: &mut Link, mut state: DeviceState, now: Timestamp) {
        for app in &mut state.apps {
            let before = self.apps.get(&app.app);
            let same = before.filter(|b| b.phase == app.phase && b.release == app.release);
            app.since = same.map_or(now, |b| b.since);
        }
        let news: Vec<_> = state.apps.iter().filter(|app| self.apps.get(&app.app) != Some(app)).cloned().collect();
        self.apps = state.apps.iter().map(|app| (app.app.clone(), app.clone())).collect();
        for app in news {
            self.watch.app(&app);
            log(&app);
            let AppState { app, release, phase, why, .. } = app;
            self.event(link, What::App { app, release, phase, why }, now);
        }
        state.refused.clone_from(&self.refused);
        state.at = Timestamp(0);
        if self.published.as_ref() != Some(&state) {
            self.published = Some(state.clone());
            state.at = now;
            self.view.state(&state);
            for (topic, payload) in self.home_assistant.iter_mut().flat_map(|home| home.news(&state, &self.topics)) {
                link.publish(topic, payload, true);
            }
            let room = link.payload_bytes_max(&self.topics.format(&Topic::State(self.device.clone())));
            self.receipt = self.json(link, &Topic::State(self.device.clone()), &fitting(state, room), true);
        }
    }

    /// Whether what the broker has now is the last state.
    pub(crate) fn is_state(&self, receipt: Receipt) -> bool {
        self.receipt == Some(receipt)
    }

    fn event(&self, link: &mut Link, what: What, now: Timestamp) {
        let event = Event { device: self.device.clone(), at: now, what };
        self.view.event(&event);
        self.json(link, &Topic::Event(self.device.clone()), &event, false);
    }

    fn json(&self, link: &mut Link, topic: &Topic, value: &impl serde::Serialize, retain: bool) -> Option<Receipt> {
        // Our own types always have a JSON form.
        let json = serde_json::to_vec(value).inspect_err(|error| tracing::error!(%error, "a report has no JSON form"));
        Some(link.publish(self.topics.format(topic), json.ok()?, retain))
    }
}

/// A state within what the broker takes: first without the apps' words, then without the apps and the key.
fn fitting(mut state: DeviceState, room: usize) -> DeviceState {
    // Our own types always have a JSON form.
    let bytes = |state: &DeviceState| serde_json::to_vec(state).map_or(0, |json| json.len());
    let whole = bytes(&state);
    if whole <= room {
        return state;
    }
    let note = format!("it takes {room} bytes of the {whole} of this state: it is cut short");
    state.broker.push(note.clone());
    for app in &mut state.apps {
        (app.why, app.log) = (None, Vec::new());
        app.next.iter_mut().for_each(|next| (next.why, next.log) = (None, Vec::new()));
    }
    if bytes(&state) > room {
        state.sealing_key = None;
        state.apps.clear();
        state.broker = vec![note];
    }
    state
}

fn log(state: &AppState) {
    let AppState { app, release, phase, why, .. } = state;
    let (release, phase) = (release.short(), phase.as_str());
    match (state.phase, why) {
        (Phase::BackingOff | Phase::Refused | Phase::Reverted, why) => {
            tracing::warn!(%app, release, phase, "{}", why.as_deref().unwrap_or_default());
        }
        (_, Some(why)) => tracing::info!(%app, release, phase, "{why}"),
        (_, None) => tracing::info!(%app, release, phase),
    }
}

#[cfg(test)]
mod tests {
    use dunlin_core::Code;

    use super::*;
    use crate::{agent::Log, link::Broker};

    #[test]
    fn a_flood_of_refusals_is_not_passed_on_and_hides_nothing_that_we_say_ourselves() {
        let broker = Broker {
            url: "mqtt://localhost".parse().unwrap(),
            tls: crate::link::Tls::default(),
            credentials: None,
            keep_alive: std::time::Duration::from_secs(30),
        };
        let mut link = Link::new(broker, "pi-1", None);
        let (device, fleet) = ("pi-1".parse().unwrap(), "flock".parse().unwrap());
        let view = View::new(true, crate::apps::Records::default(), Timestamp(1));
        let topics = Topics::new("dunlin/v1", &fleet);
        let mut reporter = Reporter::new(device, topics, Arc::new(Log), view.clone(), None);
        let flood = |reporter: &mut Reporter, link: &mut Link, moment| {
            for number in 0..10_000 {
                let refusal = Refusal::new(Code::Malformed, format!("rubbish {number}"));
                reporter.refused_message(link, &refusal, moment, Timestamp(1));
            }
            link.waiting()
        };
        let at_once = limits::REFUSALS_AT_ONCE as usize;
        assert_eq!(flood(&mut reporter, &mut link, Moment(0)), at_once);
        let stale = Refusal::new(Code::PlanExpired, "plan 1");
        reporter.refused(&mut link, &stale, Timestamp(1));
        assert_eq!(link.waiting(), at_once + 1);
        assert_eq!(flood(&mut reporter, &mut link, Moment(1_000)), at_once + 2);
    }
}

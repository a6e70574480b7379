//! Apps' messages: to the broker when it is their turn, and from it to the apps that they are for.

use std::collections::BTreeMap;

use dunlin_core::wire::{AppName, Topic, TopicName};

use super::Driver;
use crate::apps::Outgoing;

impl Driver {
    pub(super) fn handle_outgoing(&mut self, message: Outgoing) {
        let Outgoing { app, name, payload, .. } = message;
        let topic = Topic::Out(self.device.clone(), app, name);
        self.link.publish(self.topics.format(&topic), payload, false);
    }

    /// What is on trial beside what runs hears nothing yet: nothing that is said to an app is done twice.
    pub(super) fn handle_incoming(&self, app: &AppName, name: &TopicName, payload: &[u8]) {
        if let Some(running) = self.apps.get(app) {
            running.deliver(name, payload);
        }
    }

    /// Subscribes to what apps hear, for each that is new once more, so that it gets what the broker
    /// retains; and to nothing that no app hears any more.
    pub(super) fn listen(&mut self) {
        if !self.connected {
            return;
        }
        let topics = self.apps.iter().flat_map(|(app, running)| {
            let topic = |name: &TopicName| Topic::In(self.device.clone(), app.clone(), name.clone());
            running.hears().iter().map(move |name| (topic(name), running.spec.ran))
        });
        let wanted = topics.collect::<BTreeMap<_, _>>();
        if wanted == self.heard {
            return;
        }
        for topic in self.heard.keys().filter(|topic| !wanted.contains_key(topic)) {
            self.link.unsubscribe(self.topics.format(topic));
        }
        for (topic, _) in wanted.iter().filter(|(topic, ran)| self.heard.get(topic) != Some(ran)) {
            self.link.subscribe(self.topics.format(topic));
        }
        self.heard = wanted;
    }
}

//! A broker that loses, doubles, delays (and so reorders) messages, and shows old ones again.

use std::collections::{BTreeMap, BTreeSet};

use dunlin_core::{
    Moment,
    wire::{Digest, Topic},
};

use crate::common::seeded::Chance;

#[derive(Default)]
pub(crate) struct Broker {
    /// Everything that ever stood on a topic, the newest last.
    retained: BTreeMap<Topic, Vec<Vec<u8>>>,
    subscribed: BTreeSet<Topic>,
    on_the_way: BTreeMap<(Moment, u64), (Topic, Vec<u8>)>,
    sent: u64,
    /// How likely each mischief is, in a hundred.
    pub(crate) mischief: u64,
}

impl Broker {
    pub(crate) fn publish(&mut self, topic: Topic, bytes: Vec<u8>, now: Moment, chance: &mut Chance) {
        self.retained.entry(topic.clone()).or_default().push(bytes);
        if self.subscribed.contains(&topic) {
            self.send(&topic, now, chance);
        }
    }

    pub(crate) fn subscribe(&mut self, topic: Topic, now: Moment, chance: &mut Chance) {
        if self.retained.contains_key(&topic) {
            self.send(&topic, now, chance);
        }
        self.subscribed.insert(topic);
    }

    pub(crate) fn unsubscribe(&mut self, topic: &Topic) {
        self.subscribed.remove(topic);
    }

    /// The board's session is over, and what was on its way with it.
    pub(crate) fn disconnect(&mut self) {
        self.subscribed.clear();
        self.on_the_way.clear();
    }

    /// A depot: every chunk of a module that the board subscribes to is published again.
    pub(crate) fn answer(&mut self, module: Digest, now: Moment, chance: &mut Chance) {
        let of_module = |topic: &&Topic| matches!(topic, Topic::Blob(digest, _) if *digest == module);
        let wanted: Vec<_> = self.subscribed.iter().filter(of_module).cloned().collect();
        wanted.iter().for_each(|topic| self.send(topic, now, chance));
    }

    pub(crate) fn next_at(&self) -> Option<Moment> {
        self.on_the_way.keys().next().map(|(at, _)| *at)
    }

    /// What arrives by now.
    pub(crate) fn arrived(&mut self, now: Moment) -> Option<(Topic, Vec<u8>)> {
        let first = self.on_the_way.first_entry().filter(|first| first.key().0 <= now)?;
        Some(first.remove())
    }

    fn send(&mut self, topic: &Topic, now: Moment, chance: &mut Chance) {
        let Some(versions) = self.retained.get(topic) else { return };
        if chance.percent(self.mischief) {
            return;
        }
        for _ in 0..1 + u64::from(chance.percent(self.mischief)) {
            let old = chance.percent(self.mischief);
            let mut bytes = if old { chance.one(versions) } else { versions.last().unwrap() }.clone();
            if chance.percent(self.mischief / 2) && !bytes.is_empty() {
                let at = chance.of(0..bytes.len() as u64) as usize;
                bytes[at] ^= 1 << chance.of(0..8);
            }
            let late = if chance.percent(self.mischief) { chance.of(0..5_000) } else { 1 };
            self.sent += 1;
            self.on_the_way.insert((now + late, self.sent), (topic.clone(), bytes));
        }
    }
}

//! A disk that fails: it stands in the device's state, and is left in peace for a while.
//!
//! What was not written was not taken. After the rest all of it is asked for again, so that a board
//! whose disk was full goes on by itself.

use dunlin_core::{limits, wire::Topic};

use super::Driver;
use crate::Failure;

impl Driver {
    /// Something could not be written: what runs keeps running, and nothing is begun that writes.
    pub(super) fn disk_failed(&mut self, failure: &Failure) {
        tracing::error!("{failure}");
        self.trouble = Some(failure.to_string());
        self.spool.disk_failed();
        self.rest_until = Some(self.around.clock.now() + limits::DISK_REST_MS);
    }

    /// Something was written.
    pub(super) fn disk_works(&mut self) {
        self.trouble = None;
    }

    /// Whether the disk failed a moment ago.
    pub(super) fn is_resting(&self) -> bool {
        self.rest_until.is_some()
    }

    /// Ends the rest when its time is over.
    pub(super) fn rest(&mut self) {
        if self.rest_until.is_some_and(|end| self.around.clock.now() >= end) {
            self.rest_until = None;
            self.ask_anew();
        }
    }

    /// Lets the broker send once more what stands under the topics of documents: it does so once for
    /// each subscription.
    pub(super) fn ask_anew(&mut self) {
        for release in std::mem::take(&mut self.asked).into_keys() {
            self.link.unsubscribe(self.topics.format(&Topic::Release(release)));
        }
        for topic in [Topic::Root(self.roots.next_version()), Topic::Plan] {
            let topic = self.topics.format(&topic);
            self.link.unsubscribe(topic.clone());
            self.link.subscribe(topic);
        }
    }
}

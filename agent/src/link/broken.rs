//! What a broker does not do for us: it is said, and asked for again.

use std::{collections::BTreeMap, time::Duration};

use dunlin_core::{Backoff, limits};
use tokio::time::Instant;

/// Refused subscriptions that are named one by one; a broker can refuse hundreds.
const NAMED: usize = 3;

/// What this session lacks.
#[derive(Debug)]
pub(super) struct Broken {
    retain: bool,
    /// Filters that were refused, and why.
    refused: BTreeMap<String, String>,
    /// A topic whose last message was given up, and why.
    given_up: Option<(String, String)>,
    backoff: Backoff,
    ask_at: Option<Instant>,
}

impl Broken {
    /// Nothing, in a session with a broker that keeps retained messages or doesn't.
    pub(super) fn new(retain: bool, seed: u64) -> Self {
        let backoff = Backoff::new(limits::RECONNECT_MS, limits::RECONNECT_MS_MAX, seed);
        Self { retain, refused: BTreeMap::new(), given_up: None, backoff, ask_at: None }
    }

    /// The answer to a subscription. Whether it is news.
    pub(super) fn handle_subscribed(&mut self, filter: &str, outcome: &Result<(), String>) -> bool {
        match outcome {
            Ok(()) => {
                self.forget(filter);
                true
            }
            Err(why) => {
                if self.ask_at.is_none() {
                    self.ask_at = Some(Instant::now() + Duration::from_millis(self.backoff.wait_ms()));
                }
                self.refused.insert(filter.into(), why.clone()).is_none()
            }
        }
    }

    /// A message was given up.
    pub(super) fn handle_given_up(&mut self, topic: &str, why: &str) {
        self.given_up = Some((topic.into(), why.into()));
    }

    /// A message was taken.
    pub(super) fn handle_taken(&mut self, topic: &str) {
        self.given_up.take_if(|(given_up, _)| given_up == topic);
    }

    /// A filter is of no interest any more, or is not refused any more.
    pub(super) fn forget(&mut self, filter: &str) {
        self.refused.remove(filter);
        if self.refused.is_empty() {
            self.ask_at = None;
            self.backoff.reset();
        }
    }

    /// When to ask again.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.ask_at
    }

    /// What to subscribe to again: its time has come.
    pub(super) fn handle_timeout(&mut self) -> impl Iterator<Item = &String> {
        self.ask_at = None;
        self.refused.keys()
    }

    /// All of it, for a person.
    pub(super) fn say(&self) -> Vec<String> {
        let retain = (!self.retain).then(|| {
            let sentence = "it keeps no retained messages: plans arrive only while this device is connected";
            String::from(sentence)
        });
        let refused = self.refused.iter().map(|(filter, why)| format!("it refuses a subscription to {filter}: {why}"));
        let more = self.refused.len().saturating_sub(NAMED);
        let more = (more > 0).then(|| format!("it refuses {more} more subscriptions"));
        let given_up = |(topic, why): &(String, String)| format!("it does not take a message on {topic}: {why}");
        let given_up = self.given_up.as_ref().map(given_up);
        retain.into_iter().chain(refused.take(NAMED)).chain(more).chain(given_up).collect()
    }
}

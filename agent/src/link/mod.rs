//! The line to the broker: comes back by itself, loses nothing that was handed to it.
//!
//! [`Link`] is what everybody else sees: messages go in, events come out. Below it a [`session`]
//! is one connection and knows rumqttc, and an [`outbox`] keeps what no broker has acknowledged.
//! A link knows topics' names and payload bytes, never what they mean.

mod broken;
mod broker;
mod outbox;
mod session;
mod tls;

use std::{collections::VecDeque, future::pending, time::Duration};

use bytes::Bytes;
use dunlin_core::{Backoff, limits};
use tokio::time::Instant;

use broken::Broken;
pub use broker::{Broker, BrokerUrl, Credentials, Scheme, Tls};
use outbox::{Message, Next, Outbox};
pub use session::Abilities;
use session::{Command, Report, Session};
pub use tls::TlsError;
pub(crate) use tls::server_config;

/// A session that lasted this long was a good one: the next reconnect begins with a short wait.
const GOOD_SESSION: Duration = Duration::from_secs(10);

/// What is published by the broker when it hears nothing more of us.
#[derive(Clone, Debug)]
pub struct Will {
    /// The topic; the message is retained, where the broker can.
    pub topic: String,
    /// The message.
    pub payload: Vec<u8>,
}

/// What happens on a link.
#[derive(Debug)]
pub enum Event {
    /// A new session: nothing is subscribed to yet.
    Connected(Abilities),
    /// The session is over; the link tries again by itself after this time.
    Disconnected {
        /// Why, for a person.
        why: String,
        /// How long until the next attempt.
        retry: Duration,
    },
    /// The broker answered to a subscription; on success its retained messages follow.
    Subscribed {
        /// The filter.
        filter: String,
        /// What the broker said if it refused.
        outcome: Result<(), String>,
    },
    /// A message on something that was subscribed to.
    Message {
        /// Its topic.
        topic: String,
        /// Its payload.
        payload: Bytes,
    },
    /// A published message is the broker's now.
    Acknowledged(Receipt),
    /// A message that this broker does not take: it is given up.
    Undeliverable {
        /// The message.
        receipt: Receipt,
        /// Its topic.
        topic: String,
        /// Why, for a person.
        why: String,
    },
}

/// Stands for one published message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Receipt(u64);

/// A line to a broker, and what waits to go over it.
#[derive(Debug)]
pub struct Link {
    broker: Broker,
    client_id: String,
    will: Option<Will>,
    outbox: Outbox,
    backoff: Backoff,
    /// Whether the broker keeps retained messages, as far as it is known.
    retains: bool,
    state: State,
    given_up: VecDeque<Event>,
    broken: Broken,
    packet_bytes_max: usize,
    seed: u64,
}

#[derive(Debug)]
enum State {
    Down { retry_at: Instant },
    Up { session: Session, connected_at: Option<Instant> },
    Closed,
}

impl Link {
    /// A line to this broker, which connects when [`next`](Self::next) is first awaited.
    pub fn new(broker: Broker, client_id: impl Into<String>, will: Option<Will>) -> Self {
        // Only spreads reconnects: without randomness they are just not spread.
        let seed = getrandom::u64().unwrap_or_default();
        Self {
            broker,
            client_id: client_id.into(),
            will,
            outbox: Outbox::default(),
            backoff: Backoff::new(limits::RECONNECT_MS, limits::RECONNECT_MS_MAX, seed),
            retains: true,
            state: State::Down { retry_at: Instant::now() },
            given_up: VecDeque::new(),
            broken: Broken::new(true, seed),
            packet_bytes_max: limits::PACKET_BYTES_MAX as usize,
            seed,
        }
    }

    /// The next thing that happens. Must be awaited again and again, or nothing moves;
    /// dropping the future loses nothing.
    pub async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.given_up.pop_front() {
                return event;
            }
            let report = match &mut self.state {
                State::Closed => pending().await,
                State::Down { retry_at } => {
                    tokio::time::sleep_until(*retry_at).await;
                    match Session::open(&self.broker, &self.client_id, self.will.as_ref(), self.retains) {
                        Ok(session) => self.state = State::Up { session, connected_at: None },
                        Err(error) => return self.go_down(error.to_string()),
                    }
                    continue;
                }
                State::Up { session, .. } => tokio::select! {
                    report = session.next() => report,
                    () = at(self.broken.poll_timeout()) => {
                        for filter in self.broken.handle_timeout() {
                            session.command(Command::Subscribe(filter.clone()));
                        }
                        continue;
                    }
                },
            };
            if let Some(event) = self.take(report) {
                return event;
            }
        }
    }

    /// Hands over a message. It is delivered at least once, over however many sessions that takes, and
    /// retained where it is to be and the broker can.
    ///
    /// A retained message that was not sent yet is replaced by a newer one on the same topic.
    pub fn publish(&mut self, topic: impl Into<String>, payload: impl Into<Bytes>, retain: bool) -> Receipt {
        let receipt = Receipt(self.outbox.push(topic.into(), payload.into(), retain));
        self.send_waiting();
        receipt
    }

    /// Subscribes within the session of now; subscriptions do not outlive it.
    pub fn subscribe(&mut self, filter: impl Into<String>) {
        self.command(Command::Subscribe(filter.into()));
    }

    /// Ends a subscription.
    pub fn unsubscribe(&mut self, filter: impl Into<String>) {
        let filter = filter.into();
        self.broken.forget(&filter);
        self.command(Command::Unsubscribe(filter));
    }

    /// What the broker of this session does not do for us, a sentence each.
    pub fn broken(&self) -> Vec<String> {
        self.broken.say()
    }

    /// Bytes that a message on this topic may have: what the broker takes, and what our own links take from it.
    pub fn payload_bytes_max(&self, topic: &str) -> usize {
        self.packet_bytes_max.saturating_sub(outbox::around(topic))
    }

    /// Messages that no broker has acknowledged yet.
    pub fn waiting(&self) -> usize {
        self.outbox.len()
    }

    /// Says goodbye: delivers what waits, for so long, and disconnects so that no will is sent.
    pub async fn close(mut self, patience: Duration) {
        let deadline = Instant::now() + patience;
        while self.waiting() > 0 && matches!(self.state, State::Up { .. }) {
            if tokio::time::timeout_at(deadline, self.next()).await.is_err() {
                break;
            }
        }
        if let State::Up { session, .. } = std::mem::replace(&mut self.state, State::Closed) {
            // A broker that does not answer any more is left without a farewell.
            let _ = tokio::time::timeout_at(deadline, session.close()).await;
        }
    }

    fn take(&mut self, report: Report) -> Option<Event> {
        match report {
            Report::Connected(abilities) => {
                if let State::Up { connected_at, .. } = &mut self.state {
                    *connected_at = Some(Instant::now());
                }
                self.retains = abilities.retain;
                self.broken = Broken::new(abilities.retain, self.seed);
                let ours = limits::PACKET_BYTES_MAX as usize;
                self.packet_bytes_max = abilities.packet_bytes_max.map_or(ours, |max| ours.min(max as usize));
                self.outbox.rewind(abilities.packet_bytes_max);
                self.send_waiting();
                Some(Event::Connected(abilities))
            }
            Report::NoRetainedWill => {
                self.retains = false;
                Some(self.go_down("it keeps no retained messages: once more, without a retained will".into()))
            }
            Report::Over(why) => Some(self.go_down(why)),
            Report::Subscribed { filter, outcome } => {
                let news = self.broken.handle_subscribed(&filter, &outcome);
                news.then_some(Event::Subscribed { filter, outcome })
            }
            Report::Message { topic, payload } => Some(Event::Message { topic, payload }),
            Report::Acknowledged { id, outcome } => {
                let message = self.outbox.acknowledge(id)?;
                self.send_waiting();
                let receipt = Receipt(id);
                Some(match outcome {
                    Ok(()) => {
                        self.broken.handle_taken(&message.topic);
                        Event::Acknowledged(receipt)
                    }
                    Err(why) => {
                        self.broken.handle_given_up(&message.topic, &why);
                        Event::Undeliverable { receipt, topic: message.topic, why }
                    }
                })
            }
        }
    }

    fn go_down(&mut self, why: String) -> Event {
        if let State::Up { connected_at: Some(at), .. } = self.state
            && at.elapsed() >= GOOD_SESSION
        {
            self.backoff.reset();
        }
        let retry = Duration::from_millis(self.backoff.wait_ms());
        self.state = State::Down { retry_at: Instant::now() + retry };
        Event::Disconnected { why, retry }
    }

    fn send_waiting(&mut self) {
        if let State::Up { session, connected_at: Some(_) } = &self.state {
            while let Some(next) = self.outbox.next_to_send() {
                match next {
                    Next::Send(mut message) => {
                        message.retain &= self.retains;
                        session.command(Command::Publish(message));
                    }
                    Next::TooLarge(Message { id, topic, payload, .. }) => {
                        let why = format!("{} bytes are more than the broker takes", payload.len());
                        self.broken.handle_given_up(&topic, &why);
                        self.given_up.push_back(Event::Undeliverable { receipt: Receipt(id), topic, why });
                    }
                }
            }
        }
    }

    fn command(&self, command: Command) {
        if let State::Up { session, .. } = &self.state {
            session.command(command);
        }
    }
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at).await,
        None => pending().await,
    }
}

//! A visit to the broker: publish and know that it arrived, fetch what is retained, follow topics.
//!
//! Everything here ends: a broker that stays away for the given time is an error that says so.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use anyhow::{Result, anyhow, bail};
use bytes::Bytes;
use dunlin::link::{Abilities, Event, Link, Receipt};
use dunlin_core::wire::{DeviceId, Topic};
use tokio::time::{Instant, timeout_at};

use crate::{fleet::Fleet, progress::Progress, say};

/// How long no retained message must come before there is none.
const QUIET: Duration = Duration::from_millis(700);

/// Messages handed to the link at a time: more than it sends at once, fewer than its outbox drops.
const WINDOW: usize = 32;

/// Subscriptions at a time: AWS IoT allows 50 on a connection.
const SUBSCRIPTIONS: usize = 16;

/// Bytes of an MQTT packet beside its topic and its payload, rounded up.
pub(crate) const PACKET_OVERHEAD_BYTES: u32 = 64;

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// A message to publish.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
}

/// A connection to the fleet's broker.
#[derive(Debug)]
pub(crate) struct Session {
    /// Our own name at the broker.
    id: DeviceId,
    link: Link,
    url: String,
    patience: Duration,
    abilities: Abilities,
    /// Why there is no connection at the moment.
    away: Option<String>,
    /// Filters to subscribe to again when the connection comes back.
    followed: BTreeSet<String>,
    /// What came for them and was not looked at yet.
    inbox: VecDeque<(String, Bytes)>,
    /// Topics whose messages are put aside, and what came on them.
    aside: BTreeMap<String, VecDeque<Bytes>>,
}

impl Session {
    /// Connects to the fleet's broker within this time, and warns of one that keeps nothing.
    pub(crate) async fn open(fleet: &Fleet, patience: Duration) -> Result<Self> {
        let session = Self::connect(fleet, patience).await?;
        if !session.abilities.retain {
            say::warning(format_args!(
                "the broker {} keeps no retained messages: boards find what is published only while a \
                 `dunlinctl depot` runs, and nobody finds what boards said earlier",
                session.url
            ));
        }
        Ok(session)
    }

    /// Connects to the fleet's broker within this time.
    pub(crate) async fn connect(fleet: &Fleet, patience: Duration) -> Result<Self> {
        let id = format!("dunlinctl-{:08x}", getrandom::u32().map_err(|e| anyhow!("no random numbers: {e}"))?);
        let mut link = Link::new(fleet.broker.clone(), &*id, None);
        let id = id.parse()?;
        let url = fleet.broker.url.to_string();
        let progress = Progress::waiting(format!("connecting to {url}"));
        let deadline = Instant::now() + patience;
        let mut away = None;
        let abilities = loop {
            let Ok(event) = timeout_at(deadline, link.next()).await else {
                drop(progress);
                bail!(
                    "no connection to the broker {url} within {}{}; look at [broker] in {}",
                    seconds(patience),
                    because(away.as_deref()),
                    fleet.dir.join(crate::fleet::FLEET_FILE).display()
                );
            };
            match event {
                Event::Connected(abilities) => break abilities,
                Event::Disconnected { why, .. } => {
                    progress.say(format!("connecting to {url}: {why}"));
                    away = Some(why);
                }
                // Nothing was asked for yet.
                Event::Subscribed { .. }
                | Event::Message { .. }
                | Event::Acknowledged(_)
                | Event::Undeliverable { .. } => {}
            }
        };
        let (followed, inbox) = (BTreeSet::new(), VecDeque::new());
        Ok(Self { id, link, url, patience, abilities, away: None, followed, inbox, aside: BTreeMap::new() })
    }

    /// What the broker said of itself.
    pub(crate) const fn abilities(&self) -> Abilities {
        self.abilities
    }

    /// How long it waits for a broker that does not answer.
    pub(crate) const fn patience(&self) -> Duration {
        self.patience
    }

    /// Holds if the broker takes a message of this length.
    pub(crate) fn admits(&self, message: &Message) -> Result<()> {
        let bytes = message.topic.len() + message.payload.len() + PACKET_OVERHEAD_BYTES as usize;
        match self.abilities.packet_bytes_max {
            Some(max) if bytes > max as usize => bail!(
                "{} needs an MQTT packet of {bytes} bytes, and the broker {} takes {max}: raise its limit",
                message.topic,
                self.url
            ),
            _ => Ok(()),
        }
    }

    /// Publishes retained messages, in this order, and waits until the broker has every one.
    pub(crate) async fn publish(&mut self, what: &str, messages: Vec<Message>) -> Result<()> {
        let progress = Progress::counting(format!("publishing {what}"), messages.len());
        let mut queue = messages.into_iter();
        let mut open: BTreeMap<Receipt, String> = BTreeMap::new();
        let mut deadline = Instant::now() + self.patience;
        loop {
            while open.len() < WINDOW
                && let Some(Message { topic, payload }) = queue.next()
            {
                open.insert(self.link.publish(topic.clone(), payload, true), topic);
            }
            if open.is_empty() {
                return Ok(());
            }
            let Ok(event) = timeout_at(deadline, self.link.next()).await else {
                bail!(
                    "the broker {} did not acknowledge {what} within {}{}: run the same command again",
                    self.url,
                    seconds(self.patience),
                    because(self.away.as_deref())
                );
            };
            match event {
                Event::Acknowledged(receipt) => {
                    if open.remove(&receipt).is_some() {
                        progress.step();
                        deadline = Instant::now() + self.patience;
                    }
                }
                Event::Undeliverable { topic, why, .. } => {
                    bail!("the broker {} does not take {what} ({topic}): {why}", self.url)
                }
                event @ (Event::Connected(_)
                | Event::Disconnected { .. }
                | Event::Subscribed { .. }
                | Event::Message { .. }) => self.take(event)?,
            }
        }
    }

    /// Publishes a message that is for who listens now. Whether it arrives is seen by what they do.
    pub(crate) fn tell(&mut self, topic: &str, payload: &str) {
        self.link.publish(topic.to_owned(), payload.to_owned(), false);
    }

    /// The retained messages on these topics; topics without one are not in the answer.
    pub(crate) async fn fetch(&mut self, topics: &[String]) -> Result<BTreeMap<String, Bytes>> {
        let mut fetched = BTreeMap::new();
        if !self.abilities.retain {
            return Ok(fetched);
        }
        for batch in topics.chunks(SUBSCRIPTIONS) {
            self.fetch_batch(batch, &mut fetched).await?;
        }
        Ok(fetched)
    }

    async fn fetch_batch(&mut self, topics: &[String], fetched: &mut BTreeMap<String, Bytes>) -> Result<()> {
        let _progress = Progress::waiting(format!("asking {}", self.url));
        let mut unanswered: BTreeSet<&String> = topics.iter().collect();
        topics.iter().for_each(|topic| self.link.subscribe(topic));
        let mut deadline = Instant::now() + self.patience;
        while !topics.iter().all(|topic| fetched.contains_key(topic)) {
            match timeout_at(deadline, self.link.next()).await {
                Err(_) if unanswered.is_empty() => break,
                Err(_) => return Err(self.no_answer()),
                Ok(Event::Message { topic, payload }) if topics.contains(&topic) => {
                    unanswered.remove(&topic);
                    // An empty retained message is none; one that is published just now is the newer.
                    if !payload.is_empty() {
                        fetched.insert(topic, payload);
                    }
                }
                Ok(Event::Subscribed { filter, outcome }) if topics.contains(&filter) => {
                    outcome.map_err(|why| anyhow!("the broker {} does not let us read {filter}: {why}", self.url))?;
                    unanswered.remove(&filter);
                }
                Ok(event) => {
                    let again = matches!(event, Event::Connected(_));
                    self.take(event)?;
                    if again {
                        unanswered = topics.iter().collect();
                        topics.iter().for_each(|topic| self.link.subscribe(topic));
                    }
                }
            }
            deadline = Instant::now() + if unanswered.is_empty() { QUIET } else { self.patience };
        }
        // A later subscription to the same topic is to bring its message again.
        topics.iter().filter(|topic| !self.followed.contains(*topic)).for_each(|topic| self.link.unsubscribe(topic));
        Ok(())
    }

    /// Subscribes for good, and waits until the broker agreed.
    pub(crate) async fn follow(&mut self, filters: &[String]) -> Result<()> {
        let mut unanswered: BTreeSet<&String> = filters.iter().collect();
        filters.iter().for_each(|filter| self.link.subscribe(filter));
        self.followed.extend(filters.iter().cloned());
        let deadline = Instant::now() + self.patience;
        while !unanswered.is_empty() {
            let Ok(event) = timeout_at(deadline, self.link.next()).await else { return Err(self.no_answer()) };
            if let Event::Subscribed { filter, .. } = &event {
                unanswered.remove(filter);
            }
            self.take(event)?;
        }
        Ok(())
    }

    /// Follows one topic whose messages do not come among the others; twice does no harm. Answers whether
    /// it is new: then what is retained there comes.
    pub(crate) async fn put_aside(&mut self, topic: &str) -> Result<bool> {
        if self.aside.contains_key(topic) {
            return Ok(false);
        }
        self.aside.insert(topic.into(), VecDeque::new());
        self.follow(&[topic.into()]).await?;
        Ok(true)
    }

    /// The next message that was put aside of this topic; nothing if none came until then.
    pub(crate) async fn next_aside(&mut self, topic: &str, until: Instant) -> Result<Option<Bytes>> {
        loop {
            if let Some(message) = self.aside.get_mut(topic).and_then(VecDeque::pop_front) {
                return Ok(Some(message));
            }
            let Ok(event) = timeout_at(until, self.link.next()).await else { return Ok(None) };
            self.take(event)?;
        }
    }

    /// Whether something was put aside of this topic.
    pub(crate) fn has_aside(&self, topic: &str) -> bool {
        self.aside.get(topic).is_some_and(|messages| !messages.is_empty())
    }

    /// The next message on what is followed; nothing if none came until then.
    ///
    /// Must be awaited for the connection to live. Dropping the future loses nothing.
    pub(crate) async fn message(&mut self, until: Instant) -> Result<Option<(String, Bytes)>> {
        loop {
            if let Some(message) = self.inbox.pop_front() {
                return Ok(Some(message));
            }
            let Ok(event) = timeout_at(until, self.link.next()).await else { return Ok(None) };
            self.take(event)?;
        }
    }

    /// Subscribes for good, and gives what is retained there, until nothing came for a while. Answers whether
    /// it was all.
    ///
    /// Brokers keep only so many messages waiting for a client, mosquitto a thousand, and drop the others
    /// without a word. So a message to ourselves is sent right behind the subscription: where the queue
    /// was full, it is lost as well.
    pub(crate) async fn gather(
        &mut self,
        fleet: &Fleet,
        filter: &str,
        mut each: impl FnMut(&str, &Bytes),
    ) -> Result<bool> {
        let _progress = Progress::waiting(format!("asking {}", self.url));
        let echo = fleet.topics.format(&Topic::Echo(self.id.clone()));
        self.put_aside(&echo).await?;
        self.followed.insert(filter.into());
        self.link.subscribe(filter);
        let sent = self.link.publish(echo.clone(), filter.to_owned(), false);
        let deadline = Instant::now() + self.patience;
        let (mut agreed, mut taken, mut quiet_at) = (false, false, deadline);
        // A fleet that never is quiet is listened to for the session's patience.
        while Instant::now() < deadline {
            match timeout_at(quiet_at.min(deadline), self.link.next()).await {
                Err(_) if agreed => break,
                Err(_) => return Err(self.no_answer()),
                Ok(event) => {
                    taken |= matches!(event, Event::Acknowledged(receipt) if receipt == sent);
                    agreed |= matches!(&event, Event::Subscribed { filter: of, .. } if of == filter);
                    self.take(event)?;
                }
            }
            while let Some((topic, payload)) = self.inbox.pop_front() {
                each(&topic, &payload);
            }
            if agreed {
                quiet_at = Instant::now() + QUIET;
            }
        }
        let mut came = false;
        while let Some(message) = self.aside.get_mut(&echo).and_then(VecDeque::pop_front) {
            came |= *message == *filter.as_bytes();
        }
        // Who may not publish there hears nothing, and that means nothing.
        Ok(came || !taken)
    }

    /// Why there is no connection at the moment, if there is none.
    pub(crate) fn away(&self) -> Option<&str> {
        self.away.as_deref()
    }

    /// Disconnects in good order.
    pub(crate) async fn close(self) {
        self.link.close(GOODBYE).await;
    }

    fn take(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Connected(abilities) => {
                self.abilities = abilities;
                self.away = None;
                self.followed.iter().for_each(|filter| self.link.subscribe(filter));
            }
            Event::Disconnected { why, .. } => self.away = Some(why),
            Event::Message { topic, payload } => {
                if let Some(aside) = self.aside.get_mut(&topic) {
                    aside.push_back(payload);
                // What a fetch left behind is nobody's.
                } else if !self.followed.is_empty() {
                    self.inbox.push_back((topic, payload));
                }
            }
            Event::Subscribed { filter, outcome } => {
                if let (Err(why), true) = (outcome, self.followed.contains(&filter)) {
                    bail!("the broker {} does not let us read {filter}: {why}", self.url);
                }
            }
            // Only `publish` sends, and it waits for all of its own.
            Event::Acknowledged(_) | Event::Undeliverable { .. } => {}
        }
        Ok(())
    }

    fn no_answer(&self) -> anyhow::Error {
        let (patience, because) = (seconds(self.patience), because(self.away.as_deref()));
        anyhow!("the broker {} did not answer within {patience}{because}", self.url)
    }
}

fn because(why: Option<&str>) -> String {
    why.map(|why| format!(" ({why})")).unwrap_or_default()
}

fn seconds(span: Duration) -> String {
    format!("{} s", span.as_secs_f64())
}

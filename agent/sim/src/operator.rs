//! The operator: publishes what boards are to do, and hears what they say of themselves and the broker of itself.

use std::net::SocketAddr;

use anyhow::Context;
use bytes::Bytes;
use dunlin::link::{Broker, Event, Link, Receipt, Tls};
use dunlin_core::wire::{Envelope, Topic, Topics, state::DeviceState, topic::DeviceLeaf};

use crate::{fleet::Fleet, guest::Released};

/// Where mosquitto counts, and in which order. The last one always changes, if only by the message with it.
const COUNTS: [&str; 4] = [
    "$SYS/broker/messages/received",
    "$SYS/broker/messages/sent",
    "$SYS/broker/bytes/received",
    "$SYS/broker/bytes/sent",
];

/// Bytes of an MQTT 5 PUBLISH around its topic and its payload: type, length, topic's length, identifier, properties.
const AROUND_PUBLISH: u64 = 8;

/// Bytes of a PUBACK.
const PUBACK: u64 = 4;

/// What passed at a broker, as it counts: MQTT packets and their bytes, without those of TCP and IP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) messages_up: u64,
    pub(crate) messages_down: u64,
    pub(crate) bytes_up: u64,
    pub(crate) bytes_down: u64,
}

impl Traffic {
    /// What came on top of an earlier count.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            messages_up: self.messages_up.saturating_sub(earlier.messages_up),
            messages_down: self.messages_down.saturating_sub(earlier.messages_down),
            bytes_up: self.bytes_up.saturating_sub(earlier.bytes_up),
            bytes_down: self.bytes_down.saturating_sub(earlier.bytes_down),
        }
    }
}

/// What is heard.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A board says how it is.
    State(Box<DeviceState>),
    /// The broker has counted.
    Counted,
    /// A message is the broker's now.
    Acknowledged(Receipt),
}

/// A connection of the operator's own.
pub(crate) struct Operator {
    link: Link,
    topics: Topics,
    counted: Traffic,
    /// What of that was for us alone.
    own: Traffic,
    losses: u64,
}

impl Operator {
    /// Connects, and follows all boards.
    pub(crate) async fn connect(broker: SocketAddr, fleet: &Fleet) -> anyhow::Result<Self> {
        let keep_alive = std::time::Duration::from_secs(30);
        let url = format!("mqtt://{broker}").parse()?;
        let broker = Broker { url, tls: Tls::default(), credentials: None, keep_alive };
        let mut operator = Self {
            link: Link::new(broker, "operator", None),
            topics: fleet.topics(),
            counted: Traffic::default(),
            own: Traffic::default(),
            losses: 0,
        };
        while !matches!(operator.link.next().await, Event::Connected(_)) {}
        operator.subscribe();
        Ok(operator)
    }

    fn subscribe(&mut self) {
        for filter in COUNTS.map(str::to_owned).into_iter().chain([self.topics.every_device(DeviceLeaf::State)]) {
            self.link.subscribe(filter);
        }
    }

    /// How often the line to the broker was lost. A broker that ten thousand boards keep busy may be silent for
    /// longer than a keep-alive; what was said meanwhile is retained.
    pub(crate) fn losses(&self) -> u64 {
        self.losses
    }

    /// Publishes a release and its module, retained, and waits until the broker has all of it.
    pub(crate) async fn release(&mut self, fleet: &Fleet, released: &Released) -> anyhow::Result<()> {
        let Released { release, module } = released;
        for index in 0..release.module.count() {
            let (offset, length) = release.module.range(index).context("a chunk that is not there")?;
            let chunk = Bytes::copy_from_slice(&module[offset as usize..][..length]);
            self.publish(&Topic::Blob(release.module.sha256, index), chunk).await?;
        }
        let digest = Envelope::unsigned(release).digest();
        self.publish(&Topic::Release(digest), fleet.release(release).into()).await
    }

    async fn publish(&mut self, topic: &Topic, payload: Bytes) -> anyhow::Result<()> {
        let receipt = self.send(topic, payload);
        loop {
            if let Heard::Acknowledged(acknowledged) = self.hear().await?
                && acknowledged == receipt
            {
                return Ok(());
            }
        }
    }

    /// Publishes a plan, retained.
    pub(crate) fn order(&mut self, plan: Vec<u8>) {
        self.send(&Topic::Plan, plan.into());
    }

    fn send(&mut self, topic: &Topic, payload: Bytes) -> Receipt {
        self.link.publish(self.topics.format(topic), payload, true)
    }

    /// What is heard next. Dropping the future loses nothing.
    pub(crate) async fn hear(&mut self) -> anyhow::Result<Heard> {
        loop {
            match self.link.next().await {
                Event::Message { topic, payload } => {
                    self.own.messages_down += 1;
                    self.own.bytes_down += AROUND_PUBLISH + (topic.len() + payload.len()) as u64;
                    self.own.messages_up += 1;
                    self.own.bytes_up += PUBACK;
                    if let Some(Topic::State(_)) = self.topics.parse(&topic) {
                        let state = serde_json::from_slice(&payload).with_context(|| format!("{topic} is no state"))?;
                        return Ok(Heard::State(Box::new(state)));
                    }
                    if self.count(&topic, &payload)? {
                        return Ok(Heard::Counted);
                    }
                }
                Event::Acknowledged(receipt) => return Ok(Heard::Acknowledged(receipt)),
                Event::Subscribed { outcome: Ok(()), .. } => {}
                Event::Connected(_) => self.subscribe(),
                Event::Disconnected { .. } => self.losses += 1,
                Event::Subscribed { filter, outcome: Err(why) } => anyhow::bail!("no subscription to {filter}: {why}"),
                Event::Undeliverable { topic, why, .. } => anyhow::bail!("{topic} cannot be published: {why}"),
            }
        }
    }

    /// Takes a count of the broker's; whether it is the last one of its round.
    fn count(&mut self, topic: &str, payload: &[u8]) -> anyhow::Result<bool> {
        let Traffic { messages_up, messages_down, bytes_up, bytes_down } = &mut self.counted;
        let fields = [messages_up, messages_down, bytes_up, bytes_down];
        let Some((at, field)) = fields.into_iter().enumerate().find(|(at, _)| COUNTS[*at] == topic) else {
            return Ok(false);
        };
        let text = std::str::from_utf8(payload).with_context(|| format!("{topic} is no text"))?;
        *field = text.parse().with_context(|| format!("{topic}: {text:?} is no number"))?;
        Ok(at + 1 == COUNTS.len())
    }

    /// What passed between the broker and all others so far, by its last count.
    pub(crate) fn traffic(&self) -> Traffic {
        self.counted.since(self.own)
    }
}

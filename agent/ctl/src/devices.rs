//! What devices say of themselves, gathered from the broker.

use std::collections::BTreeMap;

use anyhow::Result;
use bytes::Bytes;
use dunlin_core::wire::{DeviceId, Topic, Topics, plan::Labels, state::DeviceState, topic::DeviceLeaf};
use serde_json::{Value, json};

use crate::{fleet::Fleet, say, session::Session};

/// A device, as far as it was heard of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Whether it is connected.
    pub(crate) online: bool,
    /// What it last said.
    pub(crate) state: Option<DeviceState>,
    /// What it last said, as it was said.
    pub(crate) json: Option<Value>,
    /// Why what it last said cannot be read.
    pub(crate) unreadable: Option<String>,
}

/// Every device that was heard of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Devices(pub(crate) BTreeMap<DeviceId, Seen>);

impl Devices {
    /// Follows what devices say from now on, and gathers what they said last.
    ///
    /// One kind of topic after the other: what is retained comes at once, and brokers keep only so much
    /// of it waiting for one client.
    pub(crate) async fn gather(fleet: &Fleet, session: &mut Session) -> Result<Self> {
        let mut devices = Self::default();
        let mut whole = true;
        for leaf in [DeviceLeaf::Online, DeviceLeaf::State] {
            let filter = fleet.topics.every_device(leaf);
            let take = |topic: &str, payload: &Bytes| _ = devices.take(&fleet.topics, topic, payload);
            whole &= session.gather(fleet, &filter, take).await?;
        }
        if !whole {
            devices.fill(fleet, session).await?;
            say::warning(format_args!(
                "the broker lost some of what devices said, because it was too much at once: of the fleet only {} devices \
                 are seen. Let it queue more for a client than there are devices: in mosquitto, max_queued_messages",
                devices.0.len()
            ));
        }
        Ok(devices)
    }

    /// Asks for what is missing of devices that are known, one by one.
    async fn fill(&mut self, fleet: &Fleet, session: &mut Session) -> Result<()> {
        let missing = self.0.iter().filter(|(_, seen)| seen.state.is_none() && seen.unreadable.is_none());
        let missing = missing.flat_map(|(device, _)| [Topic::State(device.clone())]);
        let silent = self.0.iter().filter(|(_, seen)| !seen.online).map(|(device, _)| Topic::Online(device.clone()));
        let topics: Vec<_> = missing.chain(silent).map(|topic| fleet.topics.format(&topic)).collect();
        for (topic, payload) in session.fetch(&topics).await? {
            self.take(&fleet.topics, &topic, &payload);
        }
        Ok(())
    }

    /// Takes a message in; says which device it is about.
    pub(crate) fn take(&mut self, topics: &Topics, topic: &str, payload: &Bytes) -> Option<DeviceId> {
        let (device, is_state) = match topics.parse(topic)? {
            Topic::Online(device) => (device, false),
            Topic::State(device) => (device, true),
            Topic::Root(_)
            | Topic::Plan
            | Topic::Release(_)
            | Topic::Blob(..)
            | Topic::Want(_)
            | Topic::Event(_)
            | Topic::Log(..)
            | Topic::Follow(..)
            | Topic::Echo(_)
            | Topic::Out(..)
            | Topic::In(..) => return None,
        };
        let seen = self.0.entry(device.clone()).or_default();
        match (is_state, payload.is_empty()) {
            (false, _) => seen.online = **payload == *b"1",
            // Somebody took the retained message away.
            (true, true) => *seen = Seen { online: seen.online, ..Seen::default() },
            (true, false) => seen.take_state(&device, payload),
        }
        if !seen.online && payload.is_empty() && seen.state.is_none() {
            self.0.remove(&device);
        }
        Some(device)
    }
}

impl Seen {
    /// Its labels, as far as it said them.
    pub(crate) fn labels(&self) -> Labels {
        self.state.as_ref().map(|state| state.labels.clone()).unwrap_or_default()
    }

    /// What it said, with `online` added.
    pub(crate) fn to_json(&self, device: &DeviceId) -> Value {
        let mut value = self.json.clone().unwrap_or_else(|| json!({ "device": device }));
        value["online"] = self.online.into();
        if let Some(why) = &self.unreadable {
            value["unreadable"] = why.as_str().into();
        }
        value
    }

    fn take_state(&mut self, device: &DeviceId, payload: &Bytes) {
        let parsed = serde_json::from_slice::<DeviceState>(payload).map_err(|e| e.to_string());
        match parsed {
            Ok(state) if state.device == *device => {
                // As it was said: a newer agent may say more than this tool knows.
                self.json = serde_json::from_slice(payload).ok();
                (self.state, self.unreadable) = (Some(state), None);
            }
            Ok(state) => self.unreadable = Some(format!("it is the state of {}", state.device)),
            Err(error) => self.unreadable = Some(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(device: &str, extra: &str) -> Bytes {
        format!(
            "{{\"device\":\"{device}\",\"fleet\":\"flock\",\"labels\":{{}},\"agent\":\"0.1.0\",\"root\":1,\
             \"plan\":null,\"apps\":[],\"at\":5{extra}}}"
        )
        .into()
    }

    #[test]
    fn devices_are_what_they_said_last() {
        let topics = Topics::new("dunlin/v1", &"flock".parse().unwrap());
        let mut devices = Devices::default();
        let mut take = |topic: &str, payload: Bytes| {
            devices.take(&topics, &format!("dunlin/v1/flock/device/{topic}"), &payload);
            devices.0.iter().map(|(device, seen)| seen.to_json(device)).collect::<Value>()
        };
        assert_eq!(take("a/online", "1".into()), json!([{ "device": "a", "online": true }]));
        let both = take("a/state", state("a", ",\"new\":7"));
        assert_eq!((&both[0]["online"], &both[0]["new"], &both[0]["root"]), (&json!(true), &json!(7), &json!(1)));
        assert_eq!(take("a/online", "0".into())[0]["online"], false);
        let bad = take("b/state", "{}".into());
        assert!(bad[1]["unreadable"].as_str().is_some_and(|why| why.contains("missing field")), "{bad}");
        assert!(take("b/state", state("c", ""))[1]["unreadable"].as_str().is_some_and(|why| why.contains("of c")));
        assert_eq!(take("a/event", "{}".into()).as_array().map(Vec::len), Some(2));
        assert_eq!(take("a/state", Bytes::new()).as_array().map(Vec::len), Some(1), "taken away");
    }
}

//! What devices say of themselves, gathered from the broker.

use std::collections::BTreeMap;

use bytes::Bytes;
use dunlin_core::wire::{DeviceId, Topic, Topics, state::DeviceState, topic::DeviceLeaf};
use serde_json::{Value, json};

use crate::fleet::Fleet;

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

/// What to follow to hear of every device.
pub(crate) fn filters(fleet: &Fleet) -> [String; 2] {
    [DeviceLeaf::Online, DeviceLeaf::State].map(|leaf| fleet.topics.every_device(leaf))
}

impl Devices {
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

    /// An array of what devices said, each with `online` added.
    pub(crate) fn to_json(&self) -> Value {
        let one = |(device, seen): (&DeviceId, &Seen)| {
            let mut value = seen.json.clone().unwrap_or_else(|| json!({ "device": device }));
            value["online"] = seen.online.into();
            if let Some(why) = &seen.unreadable {
                value["unreadable"] = why.as_str().into();
            }
            value
        };
        self.0.iter().map(one).collect()
    }
}

impl Seen {
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
            devices.to_json()
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

//! Topics: the one place that formats them and takes them apart.

use alloc::{format, string::String};
use serde::{Deserialize, Serialize};

use super::{AppName, DeviceId, Digest, FleetName, TopicName};

/// The prefix of every topic where a configuration says nothing else.
pub const PREFIX: &str = "dunlin/v1";

/// Where a fleet's topics are: `<prefix>/<fleet>/…`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topics {
    base: String,
}

/// A topic of a fleet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// Retained envelope: root `n`.
    Root(u64),
    /// Retained envelope: the plan in force.
    Plan,
    /// Retained envelope: the release whose body has this digest.
    Release(Digest),
    /// One chunk of the module with this digest.
    Blob(Digest, u32),
    /// What a device misses of the module with this digest ([`Bitmap`](super::Bitmap)), or that it misses
    /// the release with this digest: that counts as one chunk.
    Want(Digest),
    /// `1` while the device is connected, retained; the broker says `0` when it is not (last will).
    Online(DeviceId),
    /// Retained JSON: [`DeviceState`](super::state::DeviceState).
    State(DeviceId),
    /// JSON: [`Event`](super::state::Event).
    Event(DeviceId),
    /// JSON, while somebody follows: [`Lines`](super::state::Lines) of an app's output.
    Log(DeviceId, AppName),
    /// Asks a device for an app's lines for a while: `new` by who wants all that there is, `more` by who has it.
    Follow(DeviceId, AppName),
    /// What an app publishes under a name that its release asked for.
    Out(DeviceId, AppName, TopicName),
    /// What an app hears under a name that its release asked for.
    In(DeviceId, AppName, TopicName),
    /// What a client says to itself, to see that the broker passes everything on.
    Echo(DeviceId),
}

impl Topics {
    /// The topics of this fleet under this prefix.
    pub fn new(prefix: &str, fleet: &FleetName) -> Self {
        Self { base: format!("{}/{fleet}", prefix.trim_matches('/')) }
    }

    /// The topic's name at the broker.
    pub fn format(&self, topic: &Topic) -> String {
        let base = &self.base;
        match topic {
            Topic::Root(version) => format!("{base}/root/{version}"),
            Topic::Plan => format!("{base}/plan"),
            Topic::Release(digest) => format!("{base}/release/{digest}"),
            Topic::Blob(digest, index) => format!("{base}/blob/{digest}/{index}"),
            Topic::Want(digest) => format!("{base}/want/{digest}"),
            Topic::Online(device) => format!("{base}/device/{device}/online"),
            Topic::State(device) => format!("{base}/device/{device}/state"),
            Topic::Event(device) => format!("{base}/device/{device}/event"),
            Topic::Log(device, app) => format!("{base}/device/{device}/log/{app}"),
            Topic::Follow(device, app) => format!("{base}/device/{device}/follow/{app}"),
            Topic::Out(device, app, name) => format!("{base}/device/{device}/out/{app}/{name}"),
            Topic::In(device, app, name) => format!("{base}/device/{device}/in/{app}/{name}"),
            Topic::Echo(client) => format!("{base}/echo/{client}"),
        }
    }

    /// The filter that matches every device's topics of one kind: `online`, `state` or `event`.
    pub fn every_device(&self, leaf: DeviceLeaf) -> String {
        let leaf = match leaf {
            DeviceLeaf::Online => "online",
            DeviceLeaf::State => "state",
            DeviceLeaf::Event => "event",
        };
        format!("{}/device/+/{leaf}", self.base)
    }

    /// The filter that matches whoever asks this device for an app's lines.
    pub fn every_follow(&self, device: &DeviceId) -> String {
        format!("{}/device/{device}/follow/+", self.base)
    }

    /// The filter that matches every chunk of a module.
    ///
    /// Only for brokers that retain none: of retained ones, those above the broker's queue are lost.
    pub fn every_chunk(&self, module: &Digest) -> String {
        format!("{}/blob/{module}/+", self.base)
    }

    /// The filter that matches whatever anybody wants.
    pub fn every_want(&self) -> String {
        format!("{}/want/+", self.base)
    }

    /// What a name at the broker means; nothing if it is none of this fleet's topics.
    pub fn parse(&self, name: &str) -> Option<Topic> {
        let mut levels = name.strip_prefix(self.base.as_str())?.strip_prefix('/')?.split('/');
        let topic = match levels.next()? {
            "root" => Topic::Root(number(levels.next()?)?),
            "plan" => Topic::Plan,
            "release" => Topic::Release(levels.next()?.parse().ok()?),
            "blob" => Topic::Blob(levels.next()?.parse().ok()?, number(levels.next()?)?),
            "want" => Topic::Want(levels.next()?.parse().ok()?),
            "echo" => Topic::Echo(levels.next()?.parse().ok()?),
            "device" => {
                let device = levels.next()?.parse().ok()?;
                match levels.next()? {
                    "online" => Topic::Online(device),
                    "state" => Topic::State(device),
                    "event" => Topic::Event(device),
                    "log" => Topic::Log(device, levels.next()?.parse().ok()?),
                    "follow" => Topic::Follow(device, levels.next()?.parse().ok()?),
                    "out" => Topic::Out(device, levels.next()?.parse().ok()?, levels.next()?.parse().ok()?),
                    "in" => Topic::In(device, levels.next()?.parse().ok()?, levels.next()?.parse().ok()?),
                    _ => return None,
                }
            }
            _ => return None,
        };
        levels.next().is_none().then_some(topic)
    }
}

/// The topics that every device has one of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceLeaf {
    /// [`Topic::Online`].
    Online,
    /// [`Topic::State`].
    State,
    /// [`Topic::Event`].
    Event,
}

/// A number in its one decimal form: no sign, no leading zero.
fn number<T: core::str::FromStr>(text: &str) -> Option<T> {
    let canonical = text.bytes().all(|c| c.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    canonical.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{string::ToString, vec::Vec};

    fn topics() -> Topics {
        Topics::new("dunlin/v1", &"flock".parse().unwrap())
    }

    fn all() -> Vec<Topic> {
        let digest = Digest::of(b"x");
        let device: DeviceId = "pi-1".parse().unwrap();
        [
            Topic::Root(3),
            Topic::Plan,
            Topic::Release(digest),
            Topic::Blob(digest, 12),
            Topic::Want(digest),
            Topic::Online(device.clone()),
            Topic::State(device.clone()),
            Topic::Event(device.clone()),
            Topic::Log(device.clone(), "hello".parse().unwrap()),
            Topic::Follow(device.clone(), "hello".parse().unwrap()),
            Topic::Out(device.clone(), "hello".parse().unwrap(), "room.temperature".parse().unwrap()),
            Topic::In(device.clone(), "hello".parse().unwrap(), "set-point".parse().unwrap()),
            Topic::Echo(device),
        ]
        .into()
    }

    #[test]
    fn formats_and_parses_both_ways() {
        for topic in all() {
            let name = topics().format(&topic);
            assert!(name.matches('/').count() <= 7, "AWS IoT takes at most 7 slashes: {name}");
            assert_eq!(topics().parse(&name), Some(topic));
        }
        assert_eq!(topics().format(&Topic::Plan), "dunlin/v1/flock/plan");
    }

    #[test]
    fn nothing_else_is_a_topic() {
        let digest = Digest::of(b"x").to_string();
        for rest in [
            "",
            "plan/",
            "plans",
            "root",
            "root/",
            "root/01",
            "root/+1",
            "root/-1",
            "blob/",
            "release/abc",
            "device/pi",
            "device/pi/other",
            "device/a b/state",
            "device/pi/state/x",
            "device/pi/out/hello",
            "device/pi/out/hello/",
            "device/pi/in/hello/+",
            "device/pi/in/hello/a/b",
            &alloc::format!("blob/{digest}/4294967296"),
            &alloc::format!("blob/{digest}"),
        ] {
            assert_eq!(topics().parse(&alloc::format!("dunlin/v1/flock/{rest}")), None, "{rest}");
        }
        assert_eq!(topics().parse("dunlin/v1/other/plan"), None);
        assert_eq!(topics().parse("dunlin/v1/flockplan"), None);
    }
}

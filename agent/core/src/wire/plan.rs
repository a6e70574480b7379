//! The plan: what the whole fleet runs.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::String,
    vec::Vec,
};
use serde::{Deserialize, Serialize};

use super::{
    AppName, DeviceId, Digest, Document, EnvName, FleetName, Kind, LabelKey, LabelValue, Protocol, Rollout, Sealed,
    Share, Timestamp, check_count, check_text, check_unique, rollout::at_the_end,
};
use crate::{Refusal, limits, refusal::ensure};

/// A board's labels.
pub type Labels = BTreeMap<LabelKey, LabelValue>;

/// What every device of a fleet runs, complete: a broker that mixes or withholds messages can
/// only show an older whole, never a new combination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The fleet that this is for.
    pub fleet: FleetName,
    /// One more than the previous plan's.
    pub sequence: u64,
    /// The previous plan's digest; none for the first.
    pub previous: Option<Digest>,
    /// When it was made. A board without a clock takes this for the least that the time can be.
    pub issued: Timestamp,
    /// Until when it may be accepted.
    pub not_after: Timestamp,
    /// For each app the first assignment that selects a device, and has reached it, is the one that it obeys.
    pub assignments: Vec<Assignment>,
    /// Assignments that have not reached all of their devices, by their place, in its order.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "at_the_end")]
    pub rollouts: Vec<(u32, Rollout)>,
}

/// One app on some devices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// The app.
    pub app: AppName,
    /// The devices.
    pub to: Selector,
    /// The release.
    pub release: ReleaseRef,
    /// Whether it is to be stopped for now.
    pub paused: bool,
    /// Values for environment variables that the release asks for.
    pub env: Vec<(EnvName, String)>,
    /// Values for such variables that only the devices that they are sealed to can read.
    pub secrets: Vec<(EnvName, Vec<Sealed>)>,
    /// Arguments instead of the release's own.
    pub args: Option<Vec<String>>,
    /// Ports instead of the release's own.
    pub publish: Option<Vec<Publish>>,
}

/// A release, named so that nothing else can stand in for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReleaseRef {
    /// The digest of its body.
    pub digest: Digest,
    /// Its counter: going back to an older release is a plan that says so.
    pub counter: u64,
}

/// A port of the board that leads to a port of the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publish {
    /// On the board.
    pub host: u16,
    /// In the guest.
    pub guest: u16,
    /// What is spoken there.
    pub protocol: Protocol,
}

/// Devices: those for which every term holds. No term means all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selector(pub Vec<Term>);

/// One condition on a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Term {
    /// It is one of these.
    Device(Vec<DeviceId>),
    /// Its label has one of these values.
    Label(LabelKey, Vec<LabelValue>),
}

impl Selector {
    /// Whether a device is one of them.
    pub fn selects(&self, device: &DeviceId, labels: &Labels) -> bool {
        self.0.iter().all(|term| match term {
            Term::Device(ids) => ids.contains(device),
            Term::Label(key, values) => labels.get(key).is_some_and(|value| values.contains(value)),
        })
    }
}

impl Plan {
    /// What a device is to run, an assignment an app.
    pub fn for_device(&self, device: &DeviceId, labels: &Labels) -> Vec<&Assignment> {
        self.once_at(device, labels, |rollout| rollout.share())
    }

    /// What it is to run when everything that is being rolled out has reached everybody.
    pub fn in_the_end_for(&self, device: &DeviceId, labels: &Labels) -> Vec<&Assignment> {
        self.once_at(device, labels, |_| Share::ALL)
    }

    fn once_at(&self, device: &DeviceId, labels: &Labels, share: fn(&Rollout) -> Share) -> Vec<&Assignment> {
        let mut seen = BTreeSet::new();
        let reaches = |place, a: &Assignment| {
            let share = self.rollout(place).map_or(Share::ALL, share);
            share == Share::ALL || Share::least(device, &a.app, &a.release.digest) <= share
        };
        let mine = self.assignments.iter().enumerate();
        let mine = mine.filter(|(place, a)| a.to.selects(device, labels) && reaches(*place, a)).map(|(_, a)| a);
        mine.filter(|a| seen.insert(&a.app)).collect()
    }

    /// How far the assignment at this place is, if it has not reached all of its devices.
    pub fn rollout(&self, place: usize) -> Option<&Rollout> {
        self.rollouts.iter().find(|(at, _)| *at as usize == place).map(|(_, rollout)| rollout)
    }
}

impl Assignment {
    /// What of it concerns this device: what is sealed to others it cannot read.
    pub fn seen_by(mut self, device: &DeviceId) -> Self {
        for (_, sealed) in &mut self.secrets {
            sealed.retain(|sealed| sealed.device == *device);
        }
        self.secrets.retain(|(_, sealed)| !sealed.is_empty());
        self
    }
}

impl Document for Plan {
    const KIND: Kind = Kind::Plan;

    fn check(&self) -> Result<(), Refusal> {
        ensure!(self.sequence >= 1, Malformed, "sequence 0, but the first is 1");
        let first = self.sequence == 1;
        ensure!(first == self.previous.is_none(), Malformed, "only the first plan has no predecessor");
        check_count(self.assignments.len(), limits::ASSIGNMENTS_MAX, "assignments")?;
        self.assignments.iter().try_for_each(Assignment::check)?;
        check_count(self.rollouts.len(), limits::ROLLOUTS_MAX, "rollouts")?;
        let in_order = self.rollouts.is_sorted_by(|(a, _), (b, _)| a < b);
        ensure!(in_order, Malformed, "rollouts that are not in the order of their assignments");
        let last = self.rollouts.last().is_none_or(|(place, _)| (*place as usize) < self.assignments.len());
        ensure!(last, Malformed, "a rollout of no assignment");
        self.rollouts.iter().try_for_each(|(_, rollout)| rollout.check())
    }
}

impl Assignment {
    fn check(&self) -> Result<(), Refusal> {
        check_count(self.to.0.len(), limits::SELECTOR_MAX, "terms in a selector")?;
        for term in &self.to.0 {
            let values = match term {
                Term::Device(ids) => ids.len(),
                Term::Label(_, values) => values.len(),
            };
            check_count(values, limits::SELECTOR_MAX, "values in a selector's term")?;
        }
        check_count(self.env.len(), limits::LIST_MAX, "environment variables")?;
        self.env.iter().try_for_each(|(name, value)| check_text(value, name.as_str()))?;
        check_count(self.secrets.len(), limits::LIST_MAX, "secrets")?;
        let names = self.env.iter().map(|(name, _)| name).chain(self.secrets.iter().map(|(name, _)| name));
        check_unique(names, "an environment variable")?;
        for (name, sealed) in &self.secrets {
            check_count(sealed.len(), limits::SELECTOR_MAX, "devices that a secret is sealed to")?;
            check_unique(sealed.iter().map(|sealed| &sealed.device), "a device that a secret is sealed to")?;
            let longest = sealed.iter().map(|sealed| sealed.ciphertext.len()).max().unwrap_or_default();
            let max = limits::TEXT_BYTES_MAX + limits::SEAL_BYTES;
            ensure!(longest <= max, Malformed, "{name} of {longest} sealed bytes, more than the {max} allowed");
        }
        let args = self.args.as_deref().unwrap_or_default();
        check_count(args.len(), limits::LIST_MAX, "arguments")?;
        args.iter().try_for_each(|arg| check_text(arg, "an argument"))?;
        let publish = self.publish.as_deref().unwrap_or_default();
        check_count(publish.len(), limits::LIST_MAX, "published ports")?;
        let zero = publish.iter().any(|p| p.host == 0 || p.guest == 0);
        ensure!(!zero, Malformed, "{} publishes port 0", self.app);
        check_unique(publish.iter().map(|p| (p.protocol, p.host)), "a published port")?;
        check_unique(publish.iter().map(|p| (p.protocol, p.guest)), "a port of the guest")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap())).collect()
    }

    fn term(key: &str, values: &[&str]) -> Term {
        Term::Label(key.parse().unwrap(), values.iter().map(|v| v.parse().unwrap()).collect())
    }

    #[test]
    fn a_selector_is_all_of_its_terms_and_any_of_their_values() {
        let device: DeviceId = "pi-1".parse().unwrap();
        let kitchen = labels(&[("site", "kitchen"), ("model", "zero2")]);
        let sites = term("site", &["hall", "kitchen"]);
        assert!(Selector::default().selects(&device, &labels(&[])));
        assert!(Selector([sites.clone()].into()).selects(&device, &kitchen));
        assert!(!Selector([sites.clone()].into()).selects(&device, &labels(&[])));
        assert!(!Selector([sites.clone(), term("model", &["5"])].into()).selects(&device, &kitchen));
        let other = Term::Device(["pi-2".parse().unwrap()].into());
        assert!(!Selector([sites, other].into()).selects(&device, &kitchen));
    }
}

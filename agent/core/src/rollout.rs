//! The operator's waves: when the next share of the devices is told, and when no more are.
//!
//! ```text
//!            all that are in it have arrived            soaked
//!   begun ────────────────────────────────▶ arrived ────────────▶ next wave, or the end
//!     │                                        │
//!     └────────── more fail than may ──────────┴────────▶ halted: nothing is signed any more
//! ```
//!
//! A device that was online at some time counts. It has arrived when it runs the release, or fails; a
//! failure stays one for the wave. Who is silent for longer than the rollout's patience fails.

use alloc::{collections::BTreeMap, format, string::String, vec::Vec};

use crate::{
    Moment, limits,
    verdict::Verdict,
    wire::{DeviceId, Rollout, Share},
};

/// A rollout, as one who looks after it sees it.
#[derive(Clone, Debug)]
pub struct Waves {
    rollout: Rollout,
    devices: BTreeMap<DeviceId, Device>,
    /// When all that count had arrived.
    arrived: Option<Moment>,
    halted: Option<String>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Sign a plan in which this is how far it is.
    Sign(Rollout),
    /// Sign a plan in which the assignment is everybody's: the rollout is over.
    Finish,
    /// Sign nothing more, and say why.
    Halt(String),
}

/// How many devices of the wave are where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Those that count: they were online at some time.
    pub counted: usize,
    /// Those that run the release.
    pub well: usize,
    /// Those that do not, and will not.
    pub failing: usize,
}

#[derive(Clone, Debug)]
struct Device {
    least: Share,
    online: bool,
    counts: bool,
    /// Since when it owes an answer: it is in the wave, and neither well nor failing, or away.
    since: Moment,
    verdict: Verdict,
    arrived: bool,
    failing: Option<String>,
}

impl Device {
    const fn new(least: Share, since: Moment) -> Self {
        let verdict = Verdict::Waiting(String::new());
        Self { least, online: false, counts: false, since, verdict, arrived: false, failing: None }
    }

    fn owes(&self) -> bool {
        self.failing.is_none() && (!self.online || !matches!(self.verdict, Verdict::Done(_)))
    }
}

impl Waves {
    /// Looks after a rollout from now on. What devices say comes next, and then it may be asked.
    pub fn new(rollout: Rollout) -> Self {
        Self { rollout, devices: BTreeMap::new(), arrived: None, halted: None }
    }

    /// How far it is.
    pub fn rollout(&self) -> &Rollout {
        &self.rollout
    }

    /// How its wave stands.
    pub fn count(&self) -> Count {
        self.in_wave().fold(Count::default(), |count, (_, device)| Count {
            counted: count.counted + 1,
            well: count.well + usize::from(device.failing.is_none() && matches!(device.verdict, Verdict::Done(_))),
            failing: count.failing + usize::from(device.failing.is_some()),
        })
    }

    /// Devices of the wave that are neither well nor failing, and what each of them is at.
    pub fn waiting(&self) -> impl Iterator<Item = (&DeviceId, &str)> {
        self.in_wave().filter(|(_, device)| device.owes()).map(|(id, device)| match &device.verdict {
            Verdict::Waiting(what) if device.online => (id, what.as_str()),
            Verdict::Waiting(_) | Verdict::Done(_) | Verdict::Failed(_) => (id, "is away"),
        })
    }

    /// Devices of the wave that fail, and why.
    pub fn failing(&self) -> impl Iterator<Item = (&DeviceId, &str)> {
        self.in_wave().filter_map(|(id, device)| device.failing.as_deref().map(|why| (id, why)))
    }

    /// When the next wave may begin if nothing goes wrong; nothing while some have not arrived.
    pub fn soaked_at(&self) -> Option<Moment> {
        self.arrived.map(|at| at + u64::from(self.rollout.soak_seconds) * 1_000)
    }

    /// What a device that it is for says: the smallest share that it is in, whether it is connected, and
    /// how far it is.
    pub fn handle_device(&mut self, id: &DeviceId, least: Share, online: bool, verdict: Verdict, now: Moment) {
        let share = self.rollout.share();
        let device = self.devices.entry(id.clone()).or_insert_with(|| Device::new(least, now));
        let (owed, back) = (device.owes(), online && !device.online);
        if let (true, Verdict::Failed(why)) = (least <= share, &verdict) {
            device.failing.get_or_insert_with(|| why.clone());
        }
        (device.least, device.online, device.verdict) = (least, online, verdict);
        device.counts |= online;
        if !owed || back {
            device.since = now;
        }
    }

    /// A device that it is not for (any more).
    pub fn handle_gone(&mut self, id: &DeviceId) {
        self.devices.remove(id);
    }

    /// A plan with the rollout at this point was published: every device is to say how far it is with it.
    pub fn handle_signed(&mut self, rollout: Rollout, now: Moment) {
        self.rollout = rollout;
        self.arrived = None;
        for device in self.devices.values_mut() {
            (device.arrived, device.failing, device.since) = (false, None, now);
            device.verdict = Verdict::Waiting("has not heard of it yet".into());
        }
    }

    /// What is to be done now, if anything. It is said until [`handle_signed`](Self::handle_signed).
    pub fn poll(&mut self, now: Moment) -> Option<Act> {
        self.settle(now);
        if let Some(why) = &self.halted {
            return Some(Act::Halt(why.clone()));
        }
        let soaked = self.soaked_at().is_some_and(|at| at <= now);
        if self.rollout.held || !soaked {
            return None;
        }
        Some(if self.rollout.is_last() { Act::Finish } else { Act::Sign(self.rollout.next()) })
    }

    /// When to ask again, if nothing is heard before.
    pub fn poll_timeout(&self) -> Option<Moment> {
        let patience = u64::from(self.rollout.patience_seconds) * 1_000;
        let owing = self.in_wave().filter(|(_, device)| device.owes()).map(|(_, device)| device.since + patience);
        owing.chain(self.soaked_at()).min()
    }

    fn in_wave(&self) -> impl Iterator<Item = (&DeviceId, &Device)> {
        let share = self.rollout.share();
        self.devices.iter().filter(move |(_, device)| device.counts && device.least <= share)
    }

    /// Draws the conclusions of what is known now.
    fn settle(&mut self, now: Moment) {
        let (share, patience) = (self.rollout.share(), u64::from(self.rollout.patience_seconds) * 1_000);
        for device in self.devices.values_mut().filter(|device| device.counts && device.least <= share) {
            if device.owes() && now.since(device.since) >= patience {
                let what = match &device.verdict {
                    Verdict::Waiting(what) if device.online => what,
                    Verdict::Waiting(_) | Verdict::Done(_) | Verdict::Failed(_) => "is away",
                };
                device.failing = Some(format!("{what} for {} s", patience / 1_000));
            }
            device.arrived |= !device.owes();
        }
        let Count { counted, failing, .. } = self.count();
        if self.halted.is_none() && failing as u64 * 10_000 > u64::from(self.rollout.halt_on) * counted as u64 {
            self.halted = Some(self.why_halted(failing, counted));
        }
        if self.arrived.is_none() && counted > 0 && self.in_wave().all(|(_, device)| device.arrived) {
            self.arrived = Some(now);
        }
    }

    fn why_halted(&self, failing: usize, counted: usize) -> String {
        let named: Vec<_> = self.failing().take(limits::NAMED_MAX).map(|(id, why)| format!("{id} {why}")).collect();
        let more = failing.saturating_sub(named.len());
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        let may = match (self.rollout.halt_on / 100, self.rollout.halt_on % 100) {
            (0, 0) => "and none may".into(),
            (whole, 0) => format!("more than {whole}%"),
            (whole, part) => format!("more than {whole}.{part:02}%"),
        };
        format!("{failing} of {counted} devices fail, {may}: {}{more}", named.join("; "))
    }
}

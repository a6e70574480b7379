//! Any bytes, and any signed bytes, as the next plan of a board that has one.
#![no_main]

use std::sync::LazyLock;

use dunlin_core::{
    limits,
    trust::{Accepted, PlanMark, Verified, accept_plan, stored_plan},
    wire::{Digest, Kind, Root, plan::Labels},
};
use dunlin_fuzz::fleet::{self, DEPLOY, NOW, Source};
use libfuzzer_sys::fuzz_target;

static ROOT: LazyLock<Verified<Root>> = LazyLock::new(fleet::trusted);

fuzz_target!(|data: &[u8]| {
    let (bytes, source) = fleet::envelope(data, Kind::Plan, DEPLOY);
    let last = PlanMark { sequence: 4, digest: Digest::of(b"the fourth") };
    let Ok(accepted) = accept_plan(&ROOT, Some(&last), &bytes, NOW) else { return };
    let Accepted::New(plan) = accepted else { panic!("nothing else has the fourth plan's digest") };
    assert_eq!(source, Source::Signed, "a forged plan");
    assert_eq!(plan.fleet.as_str(), "flock");
    assert!(plan.sequence > last.sequence && plan.not_after >= NOW);
    assert!(plan.assignments.len() <= limits::ASSIGNMENTS_MAX);
    assert_eq!(stored_plan(&ROOT, &plan.to_bytes()), Ok(plan.clone()));
    let device = "pi-1".parse().expect("a good name");
    let labels = Labels::from([("site".parse().expect("a good name"), "kitchen".parse().expect("a good name"))]);
    let mut apps = plan.for_device(&device, &labels).iter().map(|assignment| &assignment.app).collect::<Vec<_>>();
    let count = apps.len();
    apps.sort();
    apps.dedup();
    assert_eq!(apps.len(), count, "an app has two assignments on one device");
});

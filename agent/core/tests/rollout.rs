//! The operator's waves: a table of courses that they take, and what holds in all of them.
#![allow(clippy::unwrap_used, reason = "test helpers")]

mod common;

use std::fmt::Write;

use common::{assign, golden, name, plan, refused, release};
use dunlin_core::{
    Code, Moment,
    rollout::{Act, Count, Waves},
    verdict::Verdict,
    wire::{DeviceId, Document, Envelope, Kind, Plan, Rollout, Selector, Share, Term, plan::Labels},
};
use proptest::prelude::*;

/// Three waves: the first device, five of ten, all.
fn rollout(halt_on: u32) -> Rollout {
    let waves = vec![Share(100), Share(500), Share::ALL];
    Rollout { waves, wave: 0, soak_seconds: 60, patience_seconds: 600, halt_on, held: false }
}

/// Ten devices, `pi-0` to `pi-9`, of which the first is in a share of 100, the second in one of 200, …
struct World {
    waves: Waves,
    now: Moment,
}

fn id(device: u32) -> DeviceId {
    name(&format!("pi-{device}"))
}

fn waiting() -> Verdict {
    Verdict::Waiting("fetching".into())
}

impl World {
    fn new(halt_on: u32) -> Self {
        let world = Self { waves: Waves::new(rollout(halt_on)), now: Moment(0) };
        (0..10).fold(world, |world, device| world.says(device, true, waiting()))
    }

    fn says(mut self, device: u32, online: bool, verdict: Verdict) -> Self {
        self.waves.handle_device(&id(device), Share((device + 1) * 100), online, verdict, self.now);
        self
    }

    fn well(self, device: u32) -> Self {
        self.says(device, true, Verdict::Done(None))
    }

    fn fails(self, device: u32) -> Self {
        self.says(device, true, Verdict::Failed("went back".into()))
    }

    fn away(self, device: u32) -> Self {
        self.says(device, false, Verdict::Done(None))
    }

    /// Time goes on: it was asked what is to be done before that.
    fn after(mut self, seconds: u64) -> Self {
        self.waves.poll(self.now);
        self.now = self.now + seconds * 1_000;
        self
    }

    /// Signs what it asks to be signed.
    fn signed(mut self) -> Self {
        let Some(Act::Sign(next)) = self.waves.poll(self.now) else { panic!("{:?}", self.waves) };
        self.waves.handle_signed(next, self.now);
        self
    }

    fn line(mut self) -> String {
        let act = self.waves.poll(self.now);
        let Count { counted, well, failing } = self.waves.count();
        let wave = self.waves.rollout().wave;
        let mut line = format!("wave {wave}: {well} of {counted} well, {failing} failing");
        match act {
            None => line.push_str(", wait"),
            Some(Act::Sign(next)) => write!(line, ", sign wave {}", next.wave).unwrap(),
            Some(Act::Finish) => line.push_str(", finish"),
            Some(Act::Halt(why)) => write!(line, ", halt: {why}").unwrap(),
        }
        if let Some(at) = self.waves.poll_timeout().filter(|at| *at > self.now) {
            write!(line, ", again in {} s", at.since(self.now) / 1_000).unwrap();
        }
        let waits: Vec<_> = self.waves.waiting().map(|(id, what)| format!("{id} {what}")).collect();
        if !waits.is_empty() {
            write!(line, "; {}", waits.join(", ")).unwrap();
        }
        line
    }
}

type Course = fn(World) -> World;

const COURSES: [(&str, u32, Course); 22] = [
    ("begun", 0, |w| w),
    ("a device that is not in the wave does not matter", 0, |w| w.fails(1).well(5)),
    ("arrived", 0, |w| w.after(10).well(0)),
    ("soaked", 0, |w| w.well(0).after(60)),
    ("signed", 0, |w| w.well(0).after(60).signed()),
    ("running under the old plan is not yet running under the new one", 0, |w| w.well(0).after(60).signed().after(60)),
    ("some have arrived", 0, |w| second(w).well(0).well(1)),
    ("all have", 0, |w| all(second(w), 0..5)),
    ("a restart after it had arrived does not begin the soak again", 0, |w| {
        all(second(w), 0..5).after(30).away(2).after(20).says(2, true, waiting()).after(10)
    }),
    ("the last wave", 0, |w| third(w)),
    ("soaked at last", 0, |w| all(third(w), 0..10).after(60)),
    ("one fails and none may", 0, |w| w.fails(0)),
    ("a failure stays one", 0, |w| w.fails(0).well(0)),
    ("halted stays halted", 0, |w| w.fails(0).after(1).well(0).after(1_000)),
    ("as many fail as may", 2_000, |w| all(second(w), 0..4).fails(4)),
    ("and soak", 2_000, |w| all(second(w), 0..4).fails(4).after(60)),
    ("one more", 2_000, |w| all(second(w), 0..3).fails(3).fails(4)),
    ("many more", 0, |w| (0..10).fold(third(w), World::fails)),
    ("silence", 0, |w| w.after(599)),
    ("too long a silence", 0, |w| w.after(600)),
    ("away for too long", 0, |w| w.well(0).after(30).away(0).after(600)),
    ("who never was there does not count", 0, |mut w| {
        w.waves = Waves::new(rollout(0));
        w.away(0).after(10_000)
    }),
];

fn all(world: World, devices: std::ops::Range<u32>) -> World {
    devices.fold(world, World::well)
}

fn second(world: World) -> World {
    world.well(0).after(60).signed()
}

fn third(world: World) -> World {
    all(second(world), 0..5).after(60).signed()
}

#[test]
fn table() {
    let mut table = String::new();
    for (what, halt_on, course) in COURSES {
        writeln!(table, "{what}\n  {}", course(World::new(halt_on)).line()).unwrap();
    }
    golden("rollout.txt", &table);
}

#[test]
fn a_rollout_that_is_held_signs_nothing_and_still_says_what_fails() {
    let held = Rollout { held: true, ..rollout(0) };
    let begin = || World { waves: Waves::new(held.clone()), now: Moment(0) };
    assert_eq!(begin().well(0).after(1_000).line(), "wave 0: 1 of 1 well, 0 failing, wait");
    assert!(begin().fails(0).line().contains("halt: 1 of 1 devices fail, and none may: pi-0 went back"));
}

/// What a rollout orders of its devices, as they find out themselves.
fn ordered(labels: &Labels, device: &DeviceId, rollout: Rollout) -> u64 {
    let (old, new) = (assign(&release("hello", 1)), assign(&release("hello", 2)));
    let plan = Plan { rollouts: vec![(0, rollout)], ..plan(2, vec![new, old]) };
    plan.for_device(device, labels)[0].release.counter
}

#[test]
fn who_is_not_reached_yet_obeys_what_was_ordered_before() {
    let at = |wave| Rollout { waves: vec![Share(u32::MAX / 2), Share::ALL], wave, ..rollout(0) };
    let reached = |wave| (0..100).filter(|device| ordered(&Labels::new(), &id(*device), at(wave)) == 2).count();
    assert!((35..65).contains(&reached(0)), "{}", reached(0));
    assert_eq!(reached(1), 100);
    // Without an older order there is none; and what a rollout is not for it does not touch.
    let mut new = assign(&release("hello", 2));
    new.to = Selector(vec![Term::Label(name("site"), vec![name("hall")])]);
    let plan = Plan { rollouts: vec![(0, at(0))], ..plan(2, vec![new, assign(&release("bell", 1))]) };
    let hall = Labels::from([(name("site"), name("hall"))]);
    let apps = |device| plan.for_device(&id(device), &hall).len();
    assert!((0..20).any(|device| apps(device) == 1) && (0..20).any(|device| apps(device) == 2));
    assert!((0..20).all(|device| plan.in_the_end_for(&id(device), &hall).len() == 2));
    assert!((0..20).all(|device| plan.for_device(&id(device), &Labels::new()).len() == 1));
}

#[test]
fn a_rollout_in_a_plan_is_one() {
    let of = |rollouts| Plan { rollouts, ..plan(2, vec![assign(&release("hello", 1)), assign(&release("bell", 1))]) };
    let good = of(vec![(0, rollout(0)), (1, rollout(10_000))]);
    good.check().unwrap();
    let bad = |change: fn(&mut Rollout)| {
        let mut rollout = rollout(0);
        change(&mut rollout);
        of(vec![(1, rollout)])
    };
    for plan in [
        of(vec![(2, rollout(0))]),
        of(vec![(1, rollout(0)), (0, rollout(0))]),
        of(vec![(1, rollout(0)), (1, rollout(0))]),
        bad(|r| r.waves.clear()),
        bad(|r| r.waves.truncate(2)),
        bad(|r| r.waves[0] = Share(500)),
        bad(|r| r.wave = 3),
        bad(|r| r.halt_on = 10_001),
        bad(|r| r.waves = (0..17).map(Share).chain([Share::ALL]).collect()),
    ] {
        assert_eq!(refused(plan.check()), Code::Malformed, "{plan:?}");
    }
    // A plan has one spelling: none with an empty list at its end, none with rubbish there.
    let body = |plan: &Plan| Envelope::unsigned(plan).body;
    let parse = |body: Vec<u8>| Envelope { kind: Kind::Plan, body, signatures: vec![] }.body::<Plan>();
    assert_eq!(parse(body(&good)), Ok(good.clone()));
    for rest in [&[0][..], &[7], &[1, 0]] {
        assert_eq!(refused(parse([&body(&of(vec![])), rest].concat())), Code::Malformed);
    }
    let cut = &body(&good)[..body(&good).len() - 1];
    assert_eq!(refused(parse(cut.to_vec())), Code::Malformed);
}

#[derive(Clone, Debug)]
enum Step {
    Says(u32, bool, u8),
    After(u64),
    Gone(u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0_u32..10, any::<bool>(), 0_u8..8).prop_map(|(device, online, verdict)| Step::Says(device, online, verdict)),
        3 => (1_u64..200).prop_map(Step::After),
        1 => (0_u32..10).prop_map(Step::Gone),
    ];
    prop::collection::vec(step, 1..80)
}

proptest! {
    #[test]
    fn whatever_happens(halt_on in prop_oneof![Just(0_u32), 0_u32..4_000], steps in steps()) {
        let mut world = World { waves: Waves::new(rollout(halt_on)), now: Moment(0) };
        let (mut halted, mut begun) = (false, Moment(0));
        for step in steps {
            world = match step {
                Step::Says(device, online, 0) => world.says(device, online, Verdict::Failed("no".into())),
                Step::Says(device, online, 1) => world.says(device, online, waiting()),
                Step::Says(device, online, _) => world.says(device, online, Verdict::Done(None)),
                Step::After(seconds) => world.after(seconds),
                Step::Gone(device) => {
                    world.waves.handle_gone(&id(device));
                    world
                }
            };
            let now = world.now;
            let act = world.waves.poll(now);
            let Count { counted, well, failing } = world.waves.count();
            prop_assert!(well + failing <= counted);
            let too_many = failing as u64 * 10_000 > u64::from(halt_on) * counted as u64;
            match act {
                Some(Act::Halt(_)) => halted = true,
                _ if halted => prop_assert!(false, "halted, and then it was not"),
                Some(act) => {
                    prop_assert!(!too_many, "{failing} of {counted} fail");
                    prop_assert!(now.since(begun) >= 60_000, "it has not soaked");
                    let before = world.waves.rollout().clone();
                    let Act::Sign(next) = act else {
                        prop_assert!(before.is_last());
                        break;
                    };
                    prop_assert!(next.wave == before.wave + 1 && next.share() > before.share());
                    world.waves.handle_signed(next, now);
                    begun = now;
                }
                None => prop_assert!(!too_many, "{failing} of {counted} fail, and it goes on"),
            }
        }
    }

    #[test]
    fn a_growing_share_loses_nobody(shares in prop::collection::btree_set(0..u32::MAX, 1..15), device in 0_u32..1_000) {
        let waves = shares.into_iter().map(Share).chain([Share::ALL]).collect::<Vec<_>>();
        let at = |wave| Rollout { waves: waves.clone(), wave: wave as u32, ..rollout(0) };
        let orders: Vec<_> = (0..waves.len()).map(|wave| ordered(&Labels::new(), &id(device), at(wave))).collect();
        prop_assert!(orders.is_sorted(), "{orders:?}");
        prop_assert_eq!(orders.last(), Some(&2));
    }
}

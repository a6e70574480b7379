//! The life of a guest: the whole table of states and events, and what it adds up to.
#![allow(clippy::unwrap_used, reason = "test helpers")]

mod common;

use std::fmt::Write;

use common::golden;
use dunlin_core::{
    Moment, limits,
    supervise::{Effect, Ended, Supervisor},
    wire::{Health, Probe, Restart, state::Phase},
};
use proptest::prelude::*;

const SEED: u64 = 7;

/// Looked at every 5 s, restarted after 3 failures in a row, given 10 s to start.
fn health(probe: Probe) -> Health {
    Health { probe, interval_ms: 5_000, timeout_ms: 1_000, failures: 3, start_ms: 10_000 }
}

fn ended(well: bool) -> Ended {
    let why = if well { "it exited with 0" } else { "it trapped" };
    Ended { well, why: why.into() }
}

fn unwell() -> Result<(), String> {
    Err("it says 503".into())
}

/// A supervisor and the time that has come.
struct World {
    supervisor: Supervisor,
    now: Moment,
}

impl World {
    fn new(probe: Probe, restart: Restart) -> Self {
        Self { supervisor: Supervisor::new(health(probe), restart, SEED, Moment(0)), now: Moment(0) }
    }

    fn probed() -> Self {
        Self::new(Probe::Tcp { port: 80 }, Restart::Always)
    }

    fn after(mut self, ms: u64) -> Self {
        self.now = self.now + ms;
        self
    }

    fn accepting(mut self) -> Self {
        self.supervisor.handle_accepting(self.now);
        self
    }

    fn probe(mut self, outcome: Result<(), String>) -> Self {
        self.supervisor.handle_probe(outcome, self.now);
        self
    }

    fn ended(mut self, well: bool) -> Self {
        self.supervisor.handle_ended(ended(well), self.now);
        self
    }

    fn timeout(mut self) -> Self {
        self.supervisor.handle_timeout(self.now);
        self
    }

    /// Time goes on to the next deadline and past it.
    fn at_deadline(mut self) -> Self {
        self.now = self.supervisor.poll_timeout().unwrap_or(self.now);
        self.timeout()
    }

    fn effects(&mut self) -> Vec<Effect> {
        std::iter::from_fn(|| self.supervisor.poll_effect()).collect()
    }

    /// Where it is, what is to be done and when it wants to be asked again, in one line.
    fn line(&mut self) -> String {
        let effects = self.effects();
        let mut line = String::from(self.supervisor.phase().as_str());
        for effect in effects {
            write!(line, ", {effect:?}").unwrap();
        }
        if let Some(at) = self.supervisor.poll_timeout() {
            write!(line, ", again in {} ms", at.since(self.now)).unwrap();
        }
        if self.supervisor.failures() > 0 {
            write!(line, ", failures {}", self.supervisor.failures()).unwrap();
        }
        if let Some(why) = self.supervisor.why() {
            write!(line, ", because {why}").unwrap();
        }
        line
    }
}

type Step = fn(World) -> World;

/// Each state, how it is reached, and whether there is such a thing where nothing is looked at.
const STATES: [(&str, bool, Step); 9] = [
    ("starting", true, |w| w),
    ("starting, looked at", false, World::accepting),
    ("starting, unwell", false, |w| w.accepting().probe(unwell())),
    ("running", true, |w| w.accepting().probe(Ok(()))),
    ("running, looked at", false, |w| w.accepting().probe(Ok(())).at_deadline()),
    ("running, unwell twice and looked at", false, |w| {
        w.accepting().probe(Ok(())).at_deadline().probe(unwell()).at_deadline().probe(unwell()).at_deadline()
    }),
    ("running after a failed start", true, |w| w.at_deadline().at_deadline().accepting().probe(Ok(()))),
    ("backing off", true, World::at_deadline),
    ("finished", true, |w| w.accepting().ended(true)),
];

const EVENTS: [(&str, Step); 7] = [
    ("accepting", World::accepting),
    ("probe well", |w| w.probe(Ok(()))),
    ("probe unwell", |w| w.probe(unwell())),
    ("early timeout", World::timeout),
    ("timeout", World::at_deadline),
    ("ended well", |w| w.ended(true)),
    ("ended badly", |w| w.ended(false)),
];

#[test]
fn table() {
    let mut table = String::new();
    for probe in [Probe::Up, Probe::Tcp { port: 80 }] {
        for (state, _, to) in STATES.into_iter().filter(|(_, always, _)| *always || probe != Probe::Up) {
            writeln!(table, "{state} ({probe:?})").unwrap();
            for (event, step) in EVENTS {
                // Only an end asks for the policy, and only one of them lets a guest finish.
                let policies = match event {
                    _ if state == "finished" => &[Restart::Never][..],
                    "ended well" | "ended badly" => &[Restart::Always, Restart::OnFailure, Restart::Never],
                    _ => &[Restart::Always],
                };
                for policy in policies {
                    let mut world = to(World::new(probe.clone(), *policy)).after(10);
                    world.effects();
                    let event = if policies.len() > 1 { format!("{event}, {policy:?}") } else { event.into() };
                    writeln!(table, "    {event:23}-> {}", step(world).line()).unwrap();
                }
            }
        }
    }
    golden("supervise.txt", &table);
}

#[test]
fn a_start_is_a_launch() {
    let mut world = World::probed();
    assert_eq!(world.line(), "starting, Launch, again in 10000 ms");
}

#[test]
fn a_crash_loop_backs_off_and_is_forgotten_after_being_well() {
    let mut world = World::new(Probe::Up, Restart::Always);
    for full in [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000] {
        world = world.accepting().after(1).ended(false);
        let wait = world.supervisor.poll_timeout().unwrap().since(world.now);
        assert!((full - full / 4..=full).contains(&wait), "{wait} of {full}");
        world = world.at_deadline();
        assert_eq!(world.supervisor.phase(), Phase::Starting);
    }
    assert_eq!(world.supervisor.failures(), 10);
    world = world.accepting();
    assert_eq!(world.supervisor.why(), Some("it trapped"), "it says why it was restarted");
    world = world.after(limits::WELL_AFTER_MS - 1).timeout();
    assert_eq!(world.supervisor.failures(), 10);
    world = world.after(1).timeout();
    assert_eq!((world.supervisor.failures(), world.supervisor.why()), (0, None));
    assert_eq!(world.supervisor.poll_timeout(), None);
    world = world.ended(false);
    assert!(world.supervisor.poll_timeout().unwrap().since(world.now) <= limits::RESTART_MS);
}

#[test]
fn the_policy_says_which_end_is_followed_by_a_start() {
    for (restart, after_well, after_bad) in [
        (Restart::Always, Phase::BackingOff, Phase::BackingOff),
        (Restart::OnFailure, Phase::Finished, Phase::BackingOff),
        (Restart::Never, Phase::Finished, Phase::Finished),
    ] {
        for (well, phase) in [(true, after_well), (false, after_bad)] {
            let world = World::new(Probe::Up, restart).accepting().ended(well);
            assert_eq!(world.supervisor.phase(), phase, "{restart:?} {well}");
            assert_eq!(world.supervisor.why(), Some(ended(well).why.as_str()));
        }
    }
}

#[test]
fn a_start_that_takes_too_long_is_ended_and_names_the_last_look() {
    let mut world = World::probed().accepting().after(9_900).probe(unwell());
    world.effects();
    world = world.at_deadline();
    assert_eq!(world.effects(), [Effect::Kill]);
    assert_eq!(world.supervisor.phase(), Phase::BackingOff);
    assert_eq!(world.supervisor.why(), Some("it was not well within 10000 ms of its start: it says 503"));
    // The next start knows nothing of the last one's looks.
    let mut world = World::probed().accepting().after(9_900).probe(unwell()).at_deadline().at_deadline();
    world.effects();
    let world = world.at_deadline();
    assert_eq!(world.supervisor.why(), Some("it was not well within 10000 ms of its start"));
}

#[test]
fn only_failures_in_a_row_end_a_guest() {
    let mut world = World::probed().accepting().probe(Ok(()));
    for _ in 0..5 {
        for outcome in [unwell(), unwell(), Ok(())] {
            world = world.at_deadline().probe(outcome);
        }
    }
    assert_eq!(world.supervisor.phase(), Phase::Running);
    assert!(!world.effects().contains(&Effect::Kill));
    for _ in 0..3 {
        world = world.at_deadline().probe(unwell());
    }
    assert_eq!(world.effects(), [Effect::Probe, Effect::Probe, Effect::Probe, Effect::Kill]);
    assert_eq!(world.supervisor.why(), Some("its health check failed 3 times in a row: it says 503"));
}

#[test]
fn what_is_left_over_from_an_earlier_start_changes_nothing() {
    // The guest ended while it was looked at; the answer comes when it is started again.
    for outcome in [Ok(()), unwell()] {
        let mut world = World::probed().accepting().ended(false).at_deadline();
        world.effects();
        let before = world.line();
        assert_eq!(world.probe(outcome).line(), before);
    }
    // Two answers to one look: the second is not one in a row.
    let mut world = World::probed().accepting().probe(Ok(()));
    for _ in 0..5 {
        world = world.at_deadline().probe(Ok(())).probe(unwell());
    }
    assert_eq!(world.supervisor.phase(), Phase::Running);
    // It was killed, and its end is reported nevertheless.
    let mut world = World::probed().after(10_000).timeout();
    world.effects();
    let before = world.line();
    assert_eq!(world.ended(true).line(), before);
}

#[test]
fn a_start_knows_nothing_of_the_looks_before_it() {
    // It ended while it was unwell, and the next start is never looked at.
    let world = World::probed().accepting().probe(unwell()).ended(false).at_deadline().at_deadline();
    assert_eq!(world.supervisor.why(), Some("it was not well within 10000 ms of its start"));
    // It ended after two failures; the next guest has three of its own.
    let two =
        |world: World| world.accepting().probe(Ok(())).at_deadline().probe(unwell()).at_deadline().probe(unwell());
    let world = two(two(World::probed()).ended(false).at_deadline());
    assert_eq!(world.supervisor.phase(), Phase::Running);
}

#[test]
fn the_largest_numbers_do_not_overflow() {
    let health =
        Health { failures: u16::MAX, interval_ms: u32::MAX, start_ms: u32::MAX, ..health(Probe::Tcp { port: 1 }) };
    let now = Moment(u64::MAX - 1);
    let mut supervisor = Supervisor::new(health, Restart::Always, u64::MAX, now);
    supervisor.handle_accepting(now);
    supervisor.handle_probe(Ok(()), now);
    for _ in 0..u16::MAX {
        assert_eq!(supervisor.phase(), Phase::Running);
        supervisor.handle_timeout(Moment(u64::MAX));
        supervisor.handle_probe(unwell(), now);
    }
    assert_eq!(supervisor.phase(), Phase::BackingOff);
}

proptest! {
    /// Whatever happens: one guest at a time, one look at a time and only at a guest that is there,
    /// and a timeout that was answered lies behind.
    #[test]
    fn there_is_never_more_than_one_guest(
        events in prop::collection::vec((0u8..6, 0u64..20_000), 0..80),
        probed in any::<bool>(),
        restart in prop_oneof![Just(Restart::Always), Just(Restart::OnFailure), Just(Restart::Never)],
    ) {
        let probe = if probed { Probe::Tcp { port: 80 } } else { Probe::Up };
        let mut world = World::new(probe, restart);
        let (mut alive, mut looking) = (false, false);
        for (event, ms) in events {
            for effect in world.effects() {
                match effect {
                    Effect::Launch => {
                        prop_assert!(!alive);
                        alive = true;
                    }
                    Effect::Kill => {
                        prop_assert!(alive);
                        (alive, looking) = (false, false);
                    }
                    Effect::Probe => {
                        prop_assert!(alive && probed && !looking);
                        looking = true;
                    }
                }
            }
            let phase = world.supervisor.phase();
            prop_assert_eq!(alive, matches!(phase, Phase::Starting | Phase::Running));
            world = match event {
                0 if alive => world.accepting(),
                1 | 2 if looking => {
                    looking = false;
                    world.probe(if event == 1 { Ok(()) } else { unwell() })
                }
                3 | 4 if alive => {
                    (alive, looking) = (false, false);
                    world.ended(event == 3)
                }
                5 => world.at_deadline(),
                _ => world.after(ms).timeout(),
            };
            world = world.timeout();
            prop_assert!(world.supervisor.poll_timeout().is_none_or(|at| at > world.now));
        }
    }
}

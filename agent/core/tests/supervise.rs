//! The life of a guest: the whole table of states and events, and what it adds up to.
#![allow(clippy::unwrap_used, reason = "test helpers")]

mod common;

use std::fmt::Write;

use common::{assign, golden, release};
use dunlin_core::{
    Moment, limits,
    policy::{Policy, Setup, admit},
    supervise::{Effect, Ended, Supervisor},
    wire::{Health, Probe, Restart, Start, state::Phase},
};
use proptest::prelude::*;

const SEED: u64 = 7;

/// Looked at every 5 s, restarted after 3 failures in a row, given 10 s to start.
fn health(probe: Probe) -> Health {
    Health { probe, interval_ms: 5_000, timeout_ms: 1_000, successes: 1, failures: 3, start_ms: 10_000 }
}

fn setup(health: Health, restart: Restart, start: Start) -> Setup {
    let mut release = release("hello", 1);
    (release.health, release.restart, release.start) = (health, restart, start);
    admit(&Policy::default(), &release, &assign(&release)).unwrap()
}

fn ended(well: bool) -> Ended {
    let why = if well { "it exited with 0" } else { "it trapped" };
    Ended { well, why: why.into() }
}

fn unwell() -> Result<(), String> {
    Err("it says 503".into())
}

/// How it comes to be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    /// It is known to be good.
    Good,
    /// It replaces one that is.
    Trial,
    /// It is, and sleeps until somebody wants it.
    OnDemand,
}

/// A supervisor and the time that has come.
struct World {
    supervisor: Supervisor,
    now: Moment,
}

impl World {
    fn new(probe: Probe, restart: Restart) -> Self {
        Self::with(Course::Good, probe, restart)
    }

    fn with(course: Course, probe: Probe, restart: Restart) -> Self {
        let start = if course == Course::OnDemand { Start::OnDemand { idle_ms: 30_000 } } else { Start::AtOnce };
        let setup = setup(health(probe), restart, start);
        Self { supervisor: Supervisor::new(&setup, course == Course::Trial, SEED, Moment(0)), now: Moment(0) }
    }

    fn probed() -> Self {
        Self::new(Probe::Tcp { port: 7878 }, Restart::Always)
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

    fn wanted(mut self) -> Self {
        self.supervisor.handle_wanted(self.now);
        self
    }

    fn connections(mut self, open: usize) -> Self {
        self.supervisor.handle_connections(open, self.now);
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

const PROBED: Probe = Probe::Tcp { port: 7878 };

/// Each state of each course, how it is reached, and whether there is such a thing where nothing is looked at.
const STATES: [(Course, &str, bool, Step); 16] = [
    (Course::Good, "starting", true, |w| w),
    (Course::Good, "starting, looked at", false, World::accepting),
    (Course::Good, "starting, unwell", false, |w| w.accepting().probe(unwell())),
    (Course::Good, "running", true, |w| w.accepting().probe(Ok(()))),
    (Course::Good, "running, looked at", false, |w| w.accepting().probe(Ok(())).at_deadline()),
    (Course::Good, "running, unwell twice and looked at", false, |w| {
        w.accepting().probe(Ok(())).at_deadline().probe(unwell()).at_deadline().probe(unwell()).at_deadline()
    }),
    (Course::Good, "running after a failed start", true, |w| w.at_deadline().at_deadline().accepting().probe(Ok(()))),
    (Course::Good, "backing off", true, World::at_deadline),
    (Course::Good, "finished", true, |w| w.accepting().ended(true)),
    (Course::Trial, "starting", true, |w| w),
    (Course::Trial, "trial", true, |w| w.accepting().probe(Ok(()))),
    (Course::Trial, "reverted", true, |w| w.accepting().ended(false)),
    (Course::OnDemand, "asleep", true, |w| w),
    (Course::OnDemand, "starting", true, World::wanted),
    (Course::OnDemand, "running", true, |w| w.wanted().accepting().probe(Ok(()))),
    (Course::OnDemand, "backing off", true, |w| w.wanted().at_deadline()),
];

const EVENTS: [(&str, Step); 10] = [
    ("wanted", World::wanted),
    ("accepting", World::accepting),
    ("probe well", |w| w.probe(Ok(()))),
    ("probe unwell", |w| w.probe(unwell())),
    ("a connection", |w| w.connections(1)),
    ("no connection", |w| w.connections(0)),
    ("early timeout", World::timeout),
    ("timeout", World::at_deadline),
    ("ended well", |w| w.ended(true)),
    ("ended badly", |w| w.ended(false)),
];

#[test]
fn table() {
    let mut table = String::new();
    for probe in [Probe::Up, PROBED] {
        for (course, state, _, to) in STATES.into_iter().filter(|(_, _, always, _)| *always || probe != Probe::Up) {
            writeln!(table, "{state} ({course:?}, {probe:?})").unwrap();
            for (event, step) in EVENTS {
                // Only an end asks for the policy, and only one of them lets a guest finish.
                let policies = match event {
                    _ if state == "finished" => &[Restart::Never][..],
                    "ended well" | "ended badly" => &[Restart::Always, Restart::OnFailure, Restart::Never],
                    _ => &[Restart::Always],
                };
                for policy in policies {
                    let mut world = to(World::with(course, probe.clone(), *policy)).after(10);
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
fn a_trial_is_promoted_when_it_is_well_and_confirmed_when_it_stayed_so() {
    let mut world = World::with(Course::Trial, PROBED, Restart::Always);
    assert_eq!(world.line(), "starting, Launch, again in 10000 ms");
    world = world.accepting().probe(unwell()).at_deadline().probe(Ok(()));
    assert_eq!(world.line(), "trial, Probe, Probe, Promote, again in 5000 ms");
    for _ in 0..2 {
        world = world.at_deadline().probe(Ok(()));
    }
    assert_eq!(world.line(), "trial, Probe, Probe, again in 5000 ms");
    world.now = Moment(200 + u64::from(limits::TRIAL_MS));
    world = world.timeout();
    assert_eq!(world.line(), "running, Confirm, Probe");
    assert_eq!(world.ended(false).supervisor.phase(), Phase::BackingOff, "it is the good one now");
}

#[test]
fn whatever_goes_wrong_on_trial_reverts_it_for_good() {
    let trial = || World::with(Course::Trial, PROBED, Restart::Always);
    let well = || trial().accepting().probe(Ok(()));
    let unwell_thrice =
        |world: World| world.at_deadline().probe(unwell()).at_deadline().probe(unwell()).at_deadline().probe(unwell());
    for (mut world, why) in [
        (trial().ended(false), "it trapped"),
        (trial().ended(true), "it exited with 0"),
        (trial().at_deadline(), "it was not well within 10000 ms of its start"),
        (well().ended(false), "it trapped"),
        (unwell_thrice(well()), "its health check failed 3 times in a row: it says 503"),
    ] {
        assert_eq!((world.supervisor.phase(), world.supervisor.why()), (Phase::Reverted, Some(why)));
        world.effects();
        let before = world.line();
        let after = world.after(100_000).timeout().wanted().accepting().probe(Ok(())).ended(true).line();
        assert_eq!(after, before);
    }
}

#[test]
fn a_job_that_did_what_it_is_for_passed_its_trial() {
    let mut world = World::with(Course::Trial, Probe::Up, Restart::OnFailure).ended(true);
    assert_eq!(world.line(), "finished, Launch, Promote, Confirm, because it exited with 0");
    let failed = World::with(Course::Trial, Probe::Up, Restart::Never).ended(false);
    assert_eq!(failed.supervisor.phase(), Phase::Reverted);
}

#[test]
fn on_demand_it_runs_while_somebody_is_connected() {
    let mut world = World::with(Course::OnDemand, Probe::Up, Restart::Always);
    assert_eq!(world.line(), "asleep, Listen");
    world = world.wanted().accepting();
    assert_eq!(world.line(), "running, Launch, again in 30000 ms");
    world = world.connections(1);
    assert_eq!(world.line(), "running");
    world = world.after(1_000_000).connections(0).after(29_999).timeout();
    assert_eq!(world.line(), "running, again in 1 ms");
    world = world.after(1).timeout();
    assert_eq!(world.line(), "asleep, Kill, Listen");
    world = world.wanted().accepting().ended(false);
    world.effects();
    assert_eq!(
        world.at_deadline().line(),
        "asleep, Listen, failures 1, because it trapped",
        "only if it is wanted again"
    );
}

#[test]
fn it_must_be_found_well_as_often_in_a_row_as_it_asks_for() {
    let health = Health { successes: 3, ..health(PROBED) };
    let setup = setup(health, Restart::Always, Start::AtOnce);
    let mut world = World { supervisor: Supervisor::new(&setup, false, SEED, Moment(0)), now: Moment(0) };
    world = world.accepting();
    for outcome in [Ok(()), Ok(()), unwell(), Ok(()), Ok(())] {
        world = world.probe(outcome).at_deadline();
        assert_eq!(world.supervisor.phase(), Phase::Starting);
    }
    assert_eq!(world.probe(Ok(())).supervisor.phase(), Phase::Running);
}

#[test]
fn the_largest_numbers_do_not_overflow() {
    let health =
        Health { failures: u16::MAX, interval_ms: u32::MAX, start_ms: u32::MAX, ..health(Probe::Tcp { port: 7878 }) };
    let now = Moment(u64::MAX - 1);
    let setup = setup(health, Restart::Always, Start::AtOnce);
    let mut supervisor = Supervisor::new(&setup, false, u64::MAX, now);
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
        events in prop::collection::vec((0u8..8, 0u64..20_000), 0..80),
        probed in any::<bool>(),
        course in prop_oneof![Just(Course::Good), Just(Course::Trial), Just(Course::OnDemand)],
        restart in prop_oneof![Just(Restart::Always), Just(Restart::OnFailure), Just(Restart::Never)],
    ) {
        let probe = if probed { PROBED } else { Probe::Up };
        let mut world = World::with(course, probe, restart);
        let (mut alive, mut looking, mut listening) = (false, false, false);
        let (mut promoted, mut confirmed) = (0, 0);
        for (event, ms) in events {
            for effect in world.effects() {
                match effect {
                    Effect::Launch => {
                        prop_assert!(!alive);
                        (alive, listening) = (true, false);
                    }
                    Effect::Kill => {
                        prop_assert!(alive);
                        (alive, looking) = (false, false);
                    }
                    Effect::Probe => {
                        prop_assert!(alive && probed && !looking);
                        looking = true;
                    }
                    Effect::Listen => {
                        prop_assert!(!alive && !listening && course == Course::OnDemand);
                        listening = true;
                    }
                    Effect::Promote => promoted += 1,
                    Effect::Confirm => {
                        prop_assert_eq!(promoted, 1);
                        confirmed += 1;
                    }
                }
            }
            prop_assert!(promoted <= usize::from(course == Course::Trial) && confirmed <= promoted);
            let phase = world.supervisor.phase();
            prop_assert_eq!(alive, matches!(phase, Phase::Starting | Phase::Trial | Phase::Running));
            prop_assert_eq!(listening, phase == Phase::Asleep);
            prop_assert!(confirmed == 0 || !matches!(phase, Phase::Trial | Phase::Reverted));
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
                6 if listening => world.wanted(),
                7 if alive => world.connections(usize::from(ms < 10_000)),
                _ => world.after(ms).timeout(),
            };
            world = world.timeout();
            prop_assert!(world.supervisor.poll_timeout().is_none_or(|at| at > world.now));
        }
    }
}

#[test]
fn a_request_that_fails_ends_a_trial_and_is_told_of_what_runs() {
    let mut world = World::with(Course::Trial, Probe::Up, Restart::Always);
    world.supervisor.handle_accepting(world.now);
    assert_eq!(world.supervisor.phase(), Phase::Trial);
    world.supervisor.handle_fault("GET /: it trapped".into(), world.now);
    assert_eq!((world.supervisor.phase(), world.supervisor.why()), (Phase::Reverted, Some("GET /: it trapped")));

    let mut world = World::new(Probe::Up, Restart::Always);
    world.supervisor.handle_fault("before it is well".into(), world.now);
    assert_eq!(world.supervisor.why(), None);
    world.supervisor.handle_accepting(world.now);
    world.supervisor.handle_fault("first".into(), world.now);
    assert_eq!((world.supervisor.phase(), world.supervisor.why()), (Phase::Running, Some("first")));
    // Who can make it fail can't make its state change all the time.
    let soon = world.now + (limits::SERVE_FAULTS_MS - 1);
    world.supervisor.handle_fault("second".into(), soon);
    assert_eq!(world.supervisor.why(), Some("first"));
    let later = world.now + limits::SERVE_FAULTS_MS;
    world.supervisor.handle_fault("third".into(), later);
    assert_eq!((world.supervisor.why(), world.supervisor.failures()), (Some("third"), 0));
    let forgiven = later + limits::WELL_AFTER_MS;
    assert_eq!(world.supervisor.poll_timeout(), Some(forgiven));
    world.supervisor.handle_timeout(forgiven);
    assert_eq!((world.supervisor.why(), world.supervisor.poll_timeout()), (None, None));
}

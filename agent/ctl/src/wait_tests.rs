use super::*;
use dunlin_core::wire::{
    Digest, ReleaseRef, Timestamp,
    state::{AppState, DeviceState, NextState, Phase, PlanState, Refused},
};

fn assignment() -> Assignment {
    Assignment {
        app: "hello".parse().unwrap(),
        to: selector::parse(&["site=hall"]).unwrap(),
        release: ReleaseRef { digest: Digest::of(b"new"), counter: 2 },
        paused: false,
        env: Vec::new(),
        secrets: Vec::new(),
        args: None,
        publish: None,
    }
}

fn plan() -> Plan {
    Plan {
        fleet: "flock".parse().unwrap(),
        sequence: 7,
        previous: Some(Digest::of(b"6")),
        issued: Timestamp(1_000),
        not_after: Timestamp(2_000),
        assignments: [assignment()].into(),
        rollouts: Vec::new(),
    }
}

fn state(sequence: u64, release: &[u8], phase: Phase, failures: u32) -> DeviceState {
    DeviceState {
        device: "a".parse().unwrap(),
        fleet: "flock".parse().unwrap(),
        labels: [("site".parse().unwrap(), "hall".parse().unwrap())].into(),
        agent: "0.1.0".into(),
        root: 1,
        sealing_key: None,
        plan: Some(PlanState { sequence, digest: Digest::of(b"plan") }),
        apps: [AppState {
            app: "hello".parse().unwrap(),
            release: Digest::of(release),
            version: None,
            phase,
            since: Timestamp(1_001),
            why: Some("because".into()),
            failures,
            ports: Vec::new(),
            udp_ports: Vec::new(),
            log: Vec::new(),
            next: None,
        }]
        .into(),
        refused: None,
        broker: vec![],
        trouble: None,
        at: Timestamp(1_001),
    }
}

#[test]
fn a_device_is_done_when_it_runs_this_release_by_this_plan() {
    let look = |state: &DeviceState| verdict(Some(state), &plan(), &assignment());
    let waiting = |what: &str| Verdict::Waiting(what.into());
    assert_eq!(look(&state(6, b"new", Phase::Running, 0)), waiting("has plan 6"), "an older plan");
    assert_eq!(look(&state(7, b"old", Phase::Running, 0)), waiting("has plan 7"), "still the old release");
    assert_eq!(look(&state(7, b"new", Phase::Fetching, 0)), waiting("fetching"));
    assert_eq!(look(&state(7, b"new", Phase::BackingOff, 2)), waiting("backing-off"));
    assert_eq!(look(&state(7, b"new", Phase::Trial, 0)), waiting("trial"));
    assert_eq!(look(&state(7, b"new", Phase::Running, 1)), Verdict::Done(None));
    assert_eq!(look(&state(7, b"new", Phase::Asleep, 0)), Verdict::Done(None), "started on demand");
    assert_eq!(look(&state(8, b"new", Phase::Running, 0)), Verdict::Done(None), "a later plan keeps it");
    assert_eq!(look(&state(7, b"new", Phase::Finished, 0)), Verdict::Done(Some("because".into())));
    let failed = |what: &str| Verdict::Failed(what.into());
    assert_eq!(look(&state(7, b"new", Phase::BackingOff, 3)), failed("ended 3 times: because"));
    assert_eq!(look(&state(7, b"new", Phase::Refused, 0)), failed("refuses it: because"));
    let mut beside = state(7, b"old", Phase::Running, 0);
    let next = |phase| Some(NextState { release: Digest::of(b"new"), phase, why: Some("no".into()), log: Vec::new() });
    beside.apps[0].next = next(Phase::Fetching);
    assert_eq!(look(&beside), waiting("fetching"), "the old one still runs");
    beside.apps[0].next = next(Phase::Refused);
    assert_eq!(look(&beside), failed("refuses it: no"));
    beside.apps[0].next = next(Phase::Reverted);
    assert_eq!(look(&beside), failed("went back to what ran before: no"));
    let mut same = state(7, b"new", Phase::Running, 0);
    same.apps[0].next = next(Phase::Starting);
    assert_eq!(look(&same), waiting("starting"), "another setup of the release that runs");
    let refused = |at| DeviceState {
        refused: Some(Refused { code: "plan-expired".into(), why: "late".into(), at: Timestamp(at) }),
        ..state(6, b"old", Phase::Running, 0)
    };
    assert_eq!(look(&refused(1_000)), failed("late [plan-expired]"));
    assert_eq!(look(&refused(999)), waiting("has plan 6"), "that was about something earlier");
}

#[test]
fn running_counts_when_it_lasts_and_a_failure_at_once() {
    let (mut watch, start) = (Watch::default(), Instant::now());
    let a = |verdict| vec![("a".parse().unwrap(), verdict)];
    let waiting = || Verdict::Waiting("x".into());
    let at = |ms| start + Duration::from_millis(ms);
    watch.look(vec![], at(0));
    assert_eq!(watch.settled_at(), None, "nobody is there");
    watch.look(a(Verdict::Done(None)), at(100));
    assert_eq!(watch.settled_at(), Some(at(100) + STEADY));
    watch.look(a(waiting()), at(200));
    assert_eq!(watch.settled_at(), None, "it did not last");
    watch.look(a(Verdict::Done(None)), at(300));
    watch.look(a(Verdict::Done(None)), at(400));
    assert_eq!(watch.settled_at(), Some(at(300) + STEADY), "the same again changes nothing");
    watch.look(a(Verdict::Failed("x".into())), at(500));
    assert_eq!(watch.settled_at(), Some(at(500)));
    let counts = watch.look(a(Verdict::Done(None)), at(600));
    assert_eq!((counts, watch.settled_at()), (a(Verdict::Failed("x".into())), Some(at(500))), "it stays one");
    let b = ("b".parse().unwrap(), Verdict::Done(None));
    watch.look([a(waiting()), vec![b]].concat(), at(700));
    assert_eq!(watch.settled_at(), Some(at(700) + STEADY), "one has failed, and one is looked at");
}

#[test]
fn only_connected_devices_that_it_is_for_count() {
    let mut devices = Devices::default();
    let seen = |online, state| Seen { online, state: Some(state), ..Seen::default() };
    let elsewhere = DeviceState { labels: [].into(), ..state(7, b"new", Phase::Refused, 0) };
    devices.0.insert("a".parse().unwrap(), seen(true, state(7, b"new", Phase::Running, 0)));
    devices.0.insert("b".parse().unwrap(), seen(false, state(6, b"old", Phase::Running, 0)));
    devices.0.insert("c".parse().unwrap(), seen(true, elsewhere));
    let verdicts = verdicts(&devices, &plan(), &assignment());
    assert_eq!(verdicts, [("a".parse().unwrap(), Verdict::Done(None))]);
    assert!(conclude(&assignment(), &verdicts, None).is_ok());
    let none = conclude(&assignment(), &[], Some(Duration::from_secs(5))).unwrap_err().to_string();
    assert!(none.contains("no device of site=hall was online within 5 s"), "{none}");
}

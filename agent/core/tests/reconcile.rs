//! From a plan and what a device has to what it does next.
#![allow(clippy::unwrap_used, reason = "test helpers")]

mod common;

use std::{slice::from_ref, sync::LazyLock};

use common::{Fleet, assign, name, order, plan, release};
use dunlin_core::{
    Code, Refusal,
    policy::{Policy, admit},
    reconcile::{Action, Actual, Last, Ran, Trial, reconcile},
    wire::{Assignment, DeviceId, Digest, Plan, Release, Selector, Term, plan::Labels, seal},
};
use proptest::prelude::*;

fn steps(plan: &Plan, actual: &Actual) -> Vec<Action> {
    let labels = Labels::from([(name("site"), name("kitchen"))]);
    reconcile(&plan.for_device(&name("pi-1"), &labels), &Policy::default(), actual)
}

fn ran(release: &Release, assignment: &Assignment) -> Ran {
    let setup = admit(&Policy::default(), release, assignment).unwrap();
    Ran { release: order(release).digest, setup: setup.digest() }
}

fn run(release: &Release, assignment: &Assignment) -> Action {
    let setup = admit(&Policy::default(), release, assignment).unwrap();
    Action::Run { app: release.app.clone(), release: order(release).digest, setup, trial: false }
}

fn fetch(release: &Release) -> Action {
    Action::FetchRelease { app: release.app.clone(), order: order(release) }
}

/// A device that has these releases with their modules.
fn having(releases: &[&Release]) -> Actual {
    let mut actual = Actual::default();
    for release in releases {
        actual.releases.insert(order(release).digest, Fleet::new().verified(release));
        actual.modules.insert(release.module.sha256);
    }
    actual
}

/// A device that runs this release as a plan assigns it plainly.
fn running(release: &Release) -> Actual {
    let mut actual = having(&[release]);
    actual.apps.insert(release.app.clone(), ran(release, &assign(release)));
    actual
}

fn refusals(steps: Vec<Action>) -> Vec<(String, Code)> {
    let refusal = |step| {
        let Action::Refuse { app, refusal: Refusal { code, .. }, .. } = step else { panic!("{step:?}") };
        (app.to_string(), code)
    };
    steps.into_iter().map(refusal).collect()
}

#[test]
fn an_app_is_fetched_and_run_step_by_step() {
    let hello = release("hello", 1);
    let plan = plan(1, vec![assign(&hello)]);
    let mut actual = Actual::default();
    assert_eq!(steps(&plan, &actual), [fetch(&hello)]);
    actual.releases = having(&[&hello]).releases;
    let module = Action::FetchModule { app: hello.app.clone(), release: order(&hello).digest };
    assert_eq!(steps(&plan, &actual), [module]);
    actual.modules.insert(hello.module.sha256);
    assert_eq!(steps(&plan, &actual), [run(&hello, &assign(&hello))]);
    assert_eq!(steps(&plan, &running(&hello)), []);
}

#[test]
fn what_runs_goes_on_running_until_the_next_one_can_start() {
    let (old, new) = (release("hello", 1), release("hello", 2));
    let plan = plan(2, vec![assign(&new)]);
    let mut actual = running(&old);
    assert_eq!(steps(&plan, &actual), [fetch(&new)]);
    actual.releases.extend(having(&[&new]).releases);
    let module = Action::FetchModule { app: new.app.clone(), release: order(&new).digest };
    assert_eq!(steps(&plan, &actual), [module]);
    actual.modules.insert(new.module.sha256);
    assert_eq!(steps(&plan, &actual), [run(&new, &assign(&new))]);
}

#[test]
fn a_paused_app_is_stopped_and_nothing_is_fetched_for_it() {
    let hello = release("hello", 1);
    let paused = plan(2, vec![Assignment { paused: true, ..assign(&hello) }]);
    assert_eq!(steps(&paused, &running(&hello)), [Action::Stop { app: name("hello") }]);
    assert_eq!(steps(&paused, &Actual::default()), []);
}

#[test]
fn an_app_that_the_plan_has_no_more_is_stopped() {
    let (hello, bell) = (release("hello", 1), release("bell", 1));
    assert_eq!(steps(&plan(2, vec![]), &running(&hello)), [Action::Stop { app: name("hello") }]);
    let other = plan(2, vec![assign(&bell)]);
    assert_eq!(steps(&other, &running(&hello)), [Action::Stop { app: name("hello") }, fetch(&bell)]);
}

#[test]
fn a_changed_configuration_starts_the_same_release_anew() {
    let hello = release("hello", 1);
    let changed = Assignment { env: vec![(name("SITE"), "hall".into())], ..assign(&hello) };
    assert_eq!(steps(&plan(2, vec![changed.clone()]), &running(&hello)), [run(&hello, &changed)]);
}

#[test]
fn of_each_app_the_first_assignment_that_selects_the_device_counts() {
    let (one, two, bell) = (release("hello", 1), release("hello", 2), release("bell", 1));
    let to = |release: &Release, term: Term| Assignment { to: Selector(vec![term]), ..assign(release) };
    let here = |release| to(release, Term::Label(name("site"), vec![name("kitchen")]));
    let elsewhere = |release| to(release, Term::Device(vec![name::<DeviceId>("pi-2")]));
    let first = |assignments| steps(&plan(1, assignments), &Actual::default());
    assert_eq!(first(vec![here(&two), assign(&one)]), [fetch(&two)]);
    assert_eq!(first(vec![elsewhere(&two), assign(&one)]), [fetch(&one)]);
    assert_eq!(first(vec![assign(&one), here(&bell), here(&two)]), [fetch(&one), fetch(&bell)]);
    assert_eq!(first(vec![elsewhere(&one), elsewhere(&bell)]), []);
    let paused = Assignment { paused: true, ..here(&two) };
    assert_eq!(first(vec![paused, assign(&one)]), [], "a pause holds, whatever follows");
}

#[test]
fn what_was_refused_is_not_tried_again_and_what_ran_before_it_stays() {
    let (old, new) = (release("hello", 1), release("hello", 2));
    let mut actual = running(&old);
    actual.refused.insert((new.app.clone(), order(&new).digest));
    assert_eq!(steps(&plan(2, vec![assign(&new)]), &actual), []);
    assert_eq!(steps(&plan(3, vec![]), &actual), [Action::Stop { app: name("hello") }]);
}

#[test]
fn what_the_device_does_not_allow_is_refused_before_its_module_is_fetched() {
    let mut greedy = release("hello", 1);
    greedy.asks.memory_bytes = 1 << 30;
    let mut actual = having(&[&greedy]);
    actual.modules.clear();
    let steps = steps(&plan(1, vec![assign(&greedy)]), &actual);
    assert_eq!(refusals(steps), [("hello".into(), Code::Policy)]);
}

/// A thief of the deploy key has a release of one app and orders it as another: that it was
/// verified, and is there, was for the app that it is of.
#[test]
fn a_release_that_is_there_for_one_app_is_not_run_as_another() {
    let bell = release("bell", 1);
    let disguised = Assignment { app: name("hello"), ..assign(&bell) };
    let actual = running(&bell);
    let steps = steps(&plan(2, vec![assign(&bell), disguised]), &actual);
    assert_eq!(refusals(steps), [("hello".into(), Code::WrongApp)]);
}

#[test]
fn a_release_that_is_there_is_held_against_the_counter_of_every_plan() {
    let hello = release("hello", 1);
    let mut assignment = assign(&hello);
    assignment.release.counter = 2;
    let steps = steps(&plan(2, vec![assignment]), &running(&hello));
    assert_eq!(refusals(steps), [("hello".into(), Code::WrongCounter)]);
}

const APPS: [&str; 3] = ["bell", "hello", "lamp"];

/// How a release of the property test turns out.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Good,
    /// The device's policy refuses it.
    Greedy,
    /// It does not verify.
    Revoked,
}

struct Made {
    release: Release,
    fate: Fate,
}

/// Four releases of each app, by app and number.
static MADE: LazyLock<Vec<Vec<Made>>> = LazyLock::new(|| {
    let made = |app: &&str| {
        let made = |(counter, fate)| {
            let mut release = release(app, counter);
            release.asks.memory_bytes = if fate == Fate::Greedy { 1 << 30 } else { 0 };
            Made { release, fate }
        };
        (0..).zip([Fate::Good, Fate::Good, Fate::Greedy, Fate::Revoked]).map(made).collect()
    };
    APPS.iter().map(made).collect()
});

/// What the plan says of an app: which of its releases, whether paused, which configuration.
type Said = Option<(usize, bool, bool)>;

fn said(app: usize, (number, paused, loud): (usize, bool, bool)) -> Assignment {
    let args = loud.then(|| vec!["--loud".into()]);
    Assignment { paused, args, ..assign(&MADE[app][number].release) }
}

/// What a driver makes of a step, when all goes as it should.
fn perform(actual: &mut Actual, action: Action) {
    let made = |digest| MADE.iter().flatten().find(|made| order(&made.release).digest == digest).unwrap();
    match action {
        Action::FetchRelease { app, order } => {
            let made = made(order.digest);
            if made.fate == Fate::Revoked {
                actual.refused.insert((app, order.digest));
            } else {
                actual.releases.insert(order.digest, Fleet::new().verified(&made.release));
            }
        }
        Action::FetchModule { release, .. } => {
            actual.modules.insert(actual.releases[&release].module.sha256);
        }
        Action::Run { app, release, setup, .. } => {
            assert!(actual.modules.contains(&actual.releases[&release].module.sha256), "it is all there");
            actual.apps.insert(app, Ran { release, setup: setup.digest() });
        }
        Action::Upgrade { .. } => unreachable!("no plan here orders an agent"),
        Action::Stop { app } => {
            actual.apps.remove(&app).unwrap();
        }
        Action::Refuse { app, release, .. } => {
            actual.refused.insert((app, release));
        }
    }
}

proptest! {
    /// Steps may be performed in any order, late, and several times over: the device comes to what
    /// the plan says and stays there, and no app is stopped on the way that the plan has running.
    #[test]
    fn any_interleaving_converges(
        before in prop::collection::vec(prop::option::of(0usize..2), 3),
        says in prop::collection::vec(prop::option::of((0usize..4, any::<bool>(), any::<bool>())), 3),
        choices in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..40),
    ) {
        let mut actual = Actual::default();
        for (app, number) in before.iter().enumerate() {
            let Some(number) = number else { continue };
            let release = &MADE[app][*number].release;
            let ran = running(release);
            actual.releases.extend(ran.releases);
            actual.modules.extend(ran.modules);
            actual.apps.extend(ran.apps);
        }
        let says: Vec<Said> = says;
        let assignments = says.iter().enumerate().filter_map(|(app, says)| says.map(|says| said(app, says)));
        let plan = plan(2, assignments.collect());

        let mut expected = actual.apps.clone();
        for (app, says) in says.iter().enumerate() {
            match says {
                None | Some((_, true, _)) => {
                    expected.remove(&name(APPS[app]));
                }
                Some(says @ (number, false, _)) if MADE[app][*number].fate == Fate::Good => {
                    expected.insert(name(APPS[app]), ran(&MADE[app][*number].release, &said(app, *says)));
                }
                Some(_) => {}
            }
        }

        let mut pending = Vec::new();
        for (index, look) in choices {
            if look || pending.is_empty() {
                // What is under way is not begun a second time.
                let new = steps(&plan, &actual).into_iter().filter(|step| !pending.contains(step)).collect::<Vec<_>>();
                pending.extend(new);
            }
            if pending.is_empty() {
                break;
            }
            let step = pending.swap_remove(index.index(pending.len()));
            let stopped = matches!(&step, Action::Stop { app } if expected.contains_key(app));
            prop_assert!(!stopped, "{step:?} of what the plan has running");
            perform(&mut actual, step);
        }
        pending.into_iter().for_each(|step| perform(&mut actual, step));
        // Fetch the release, fetch the module, run: three rounds do it from anywhere.
        for _ in 0..3 {
            steps(&plan, &actual).into_iter().for_each(|step| perform(&mut actual, step));
        }
        prop_assert_eq!(steps(&plan, &actual), []);
        prop_assert_eq!(actual.apps, expected);
    }
}

#[test]
fn a_stale_plan_fetches_nothing_and_starts_what_is_there() {
    let new = release("hello", 1);
    let mut actual = Actual { frozen: true, ..Actual::default() };
    assert_eq!(steps(&plan(1, vec![assign(&new)]), &actual), []);
    actual.releases.insert(order(&new).digest, Fleet::new().verified(&new));
    assert_eq!(steps(&plan(1, vec![assign(&new)]), &actual), []);
    actual.modules.insert(new.module.sha256);
    assert!(matches!(steps(&plan(1, vec![assign(&new)]), &actual)[..], [Action::Run { .. }]));
}

#[test]
fn a_release_without_the_grant_keys_asks_for_no_more_than_before() {
    let new = release("hello", 2);
    let mut actual = Actual::default();
    actual.releases.insert(order(&new).digest, Fleet::new().verified(&new));
    actual.modules.insert(new.module.sha256);
    actual.narrow.insert(order(&new).digest);
    let [Action::Refuse { refusal, .. }] = &steps(&plan(1, vec![assign(&new)]), &actual)[..] else { panic!("refused") };
    assert_eq!(refusal.code, Code::Widening);
    actual.last.insert(new.app.clone(), last(&release("hello", 1)));
    assert!(matches!(steps(&plan(1, vec![assign(&new)]), &actual)[..], [Action::Run { .. }]));
}

/// The record of a start of this release.
fn last(release: &Release) -> Last {
    let setup = admit(&Policy::default(), release, &assign(release)).unwrap();
    Last { order: order(release), asks: release.asks.clone(), setup }
}

#[test]
fn what_ran_last_runs_until_what_is_ordered_is_there() {
    let [old, new] = [1, 2].map(|counter| release("hello", counter));
    let plan = plan(2, vec![assign(&new)]);
    let mut actual = Actual::default();
    actual.last.insert(old.app.clone(), last(&old));
    let fetch = Action::FetchRelease { app: new.app.clone(), order: order(&new) };
    assert_eq!(steps(&plan, &actual), from_ref(&fetch), "its release is not there");
    actual.releases.insert(order(&old).digest, Fleet::new().verified(&old));
    assert_eq!(steps(&plan, &actual), from_ref(&fetch), "its module is not there");
    actual.modules.insert(old.module.sha256);
    let run = Action::Run { app: old.app.clone(), release: order(&old).digest, setup: last(&old).setup, trial: false };
    assert_eq!(steps(&plan, &actual), [fetch.clone(), run.clone()]);

    let running = Ran { release: order(&old).digest, setup: last(&old).setup.digest() };
    let started = Actual { apps: [(old.app.clone(), running)].into(), ..actual.clone() };
    assert_eq!(steps(&plan, &started), from_ref(&fetch), "once");
    let banned = Actual { banned: [order(&old).digest].into(), ..actual.clone() };
    assert_eq!(steps(&plan, &banned), [fetch], "the root forbids it");
    let refused = Actual { refused: [(new.app.clone(), order(&new).digest)].into(), ..actual.clone() };
    assert_eq!(steps(&plan, &refused), [run], "the new one is refused for good");

    actual.releases.insert(order(&new).digest, Fleet::new().verified(&new));
    actual.modules.insert(new.module.sha256);
    let [Action::Run { release, trial, .. }] = &steps(&plan, &actual)[..] else { panic!("one of them") };
    assert_eq!((*release, *trial), (order(&new).digest, true), "what is ordered goes first, on trial");
}

#[test]
fn what_replaces_a_good_one_is_tried_and_once_only() {
    let [old, new] = [1, 2].map(|counter| release("hello", counter));
    let plan = plan(2, vec![assign(&new)]);
    let mut actual = having(&[&old, &new]);
    actual.apps.insert(old.app.clone(), ran(&old, &assign(&old)));
    let on_trial = |actual: &Actual| match &steps(&plan, actual)[..] {
        [Action::Run { trial, .. }] => Some(*trial),
        _ => None,
    };
    assert_eq!(on_trial(&actual), Some(false), "nothing is known to be good");
    actual.last.insert(old.app.clone(), last(&old));
    assert_eq!(on_trial(&actual), Some(true));
    let banned = Actual { banned: [order(&old).digest].into(), ..actual.clone() };
    assert!(
        !steps(&plan, &banned).iter().any(|step| matches!(step, Action::Run { trial: true, .. })),
        "none to go back to"
    );
    let good = Actual { last: [(new.app.clone(), last(&new))].into(), ..actual.clone() };
    assert_eq!(on_trial(&good), Some(false), "it ran well before");

    actual.reverted.insert(new.app.clone(), ran(&new, &assign(&new)));
    assert_eq!(steps(&plan, &actual), [], "what was good goes on");
    actual.apps.clear();
    let back = Action::Run { app: old.app.clone(), release: order(&old).digest, setup: last(&old).setup, trial: false };
    assert_eq!(steps(&plan, &actual), [back], "or is started again");
    let mut other = assign(&new);
    other.args = Some(vec!["--quiet".into(), "--loud".into()]);
    let [Action::Run { trial: true, release, .. }] = &steps(&self::plan(2, vec![other]), &actual)[..] else {
        panic!("tried")
    };
    assert_eq!(*release, order(&new).digest, "another configuration of it is another thing to try");
}

#[test]
fn a_trial_that_no_end_was_written_of_has_failed_for_its_plan() {
    let [old, new] = [1, 2].map(|counter| release("hello", counter));
    let (this, other) = (Digest::of(b"this plan"), Digest::of(b"another"));
    let mut trial = Trial { plan: this, ran: ran(&new, &assign(&new)), why: None };
    assert!(trial.verdict(&this, Some(&last(&old))).unwrap().contains("lost power"));
    assert_eq!(trial.verdict(&other, Some(&last(&old))), None, "another plan tries again");
    assert_eq!(trial.verdict(&this, Some(&last(&new))), None, "it was confirmed, and only the record outlived it");
    trial.why = Some("it trapped".into());
    assert_eq!(trial.verdict(&this, None), Some("it trapped"));
    assert_eq!(Trial::decode(&seal(&trial)), Ok(trial));
}

#[test]
fn what_the_root_bans_ends_though_the_plan_has_it() {
    let new = release("hello", 1);
    let mut actual = running(&new);
    let plan = plan(1, vec![assign(&new)]);
    assert_eq!(steps(&plan, &actual), []);
    actual.banned.insert(order(&new).digest);
    actual.refused.insert((new.app.clone(), order(&new).digest));
    assert_eq!(steps(&plan, &actual), [Action::Stop { app: new.app }]);
}

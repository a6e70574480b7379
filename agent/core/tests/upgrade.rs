//! The agent that a plan orders: who takes it, and when it is tried.
#![allow(clippy::unwrap_used, reason = "test helpers")]

mod common;

use common::{Fleet, agent, assign_plainly, name, order, plan, release, role};
use dunlin_core::{
    Code,
    collect::{Garbage, Stored, collect},
    policy::Policy,
    reconcile::{Action, Actual, reconcile},
    trust::{Verified, verify_release},
    upgrade::{Own, Program, Record, bans},
    wire::{Assignment, Digest, Protocol, Publish, Release, ReleaseRole, plan::Labels},
};

const TARGET: &str = "aarch64-unknown-linux-gnu";
const PACKAGED: Digest = Digest([7; 32]);

fn fleet() -> Fleet {
    let apps = vec![agent(TARGET, 1).app, agent("other", 1).app];
    Fleet::new().with(|root| root.release.push(ReleaseRole { apps, role: role(1, &[common::RELEASE]) }))
}

fn verified(release: &Release) -> Verified<Release> {
    let fleet = fleet();
    verify_release(&fleet.trusted(), &release.app, &order(release), &fleet.sign_release(release)).unwrap()
}

/// A board that runs what was installed, and has these releases with their programs.
fn having(releases: &[&Release]) -> Actual {
    let own = Own { app: agent(TARGET, 1).app, runs: Some(PACKAGED), busy: false, record: None };
    let mut actual = Actual { own: Some(own), ..Actual::default() };
    for release in releases {
        actual.releases.insert(order(release).digest, verified(release));
        actual.modules.insert(release.module.sha256);
    }
    actual
}

fn steps_of(assignment: &Assignment, policy: &Policy, actual: &Actual) -> Vec<Action> {
    let plan = plan(1, vec![assignment.clone()]);
    reconcile(&plan.for_device(&name("pi-1"), &Labels::new()), policy, actual)
}

fn steps(release: &Release, actual: &Actual) -> Vec<Action> {
    steps_of(&assign_plainly(release), &Policy::default(), actual)
}

fn refusal(steps: &[Action]) -> Code {
    let [Action::Refuse { refusal, .. }] = steps else { panic!("{steps:?}") };
    refusal.code
}

fn program(release: &Release) -> Program {
    Program { order: order(release), sha256: release.module.sha256 }
}

#[test]
fn it_is_fetched_like_an_app_and_then_tried() {
    let new = agent(TARGET, 1);
    let mut actual = Actual { releases: Default::default(), modules: Default::default(), ..having(&[]) };
    let app = new.app.clone();
    assert_eq!(steps(&new, &actual), [Action::FetchRelease { app: app.clone(), order: order(&new) }]);
    actual.releases = having(&[&new]).releases;
    let digest = order(&new).digest;
    assert_eq!(steps(&new, &actual), [Action::FetchModule { app, release: digest }]);
    assert_eq!(steps(&new, &having(&[&new])), [Action::Upgrade { release: digest }]);
}

#[test]
fn it_is_tried_once_and_not_while_another_is() {
    let new = agent(TARGET, 1);
    let with = |change: &dyn Fn(&mut Own)| {
        let mut actual = having(&[&new]);
        change(actual.own.as_mut().unwrap());
        steps(&new, &actual)
    };
    assert_eq!(with(&|own| own.runs = None), [], "it is not known yet what runs");
    assert_eq!(with(&|own| own.runs = Some(new.module.sha256)), [], "it runs");
    assert_eq!(with(&|own| own.busy = true), [], "another one is on trial");
    let failed = Record::new(PACKAGED).stage(program(&new), 1).fail("why");
    assert_eq!(with(&|own| own.record = Some(failed.clone())), [], "it was tried in vain");
    let older = Record::new(PACKAGED).stage(program(&agent(TARGET, 9)), 1).fail("why");
    assert_eq!(with(&|own| own.record = Some(older.clone())).len(), 1, "another one was");
}

#[test]
fn what_runs_needs_no_fetch() {
    let new = agent(TARGET, 1);
    let mut actual = having(&[&new]);
    actual.modules.clear();
    actual.own.as_mut().unwrap().runs = Some(new.module.sha256);
    assert_eq!(steps(&new, &actual), []);
}

#[test]
fn a_board_takes_only_an_agent_of_its_own_target_from_whom_it_allows() {
    let (new, other) = (agent(TARGET, 1), agent("other", 1));
    assert_eq!(refusal(&steps(&other, &having(&[&other]))), Code::Policy);
    let closed = Policy { agent: false, ..Policy::default() };
    assert_eq!(refusal(&steps_of(&assign_plainly(&new), &closed, &having(&[&new]))), Code::Policy);
    let embedded = Actual { own: None, ..having(&[&new]) };
    assert_eq!(refusal(&steps(&new, &embedded)), Code::Policy);
    let narrow = Actual { narrow: [order(&new).digest].into(), ..having(&[&new]) };
    assert_eq!(refusal(&steps(&new, &narrow)), Code::Widening);
}

#[test]
fn a_deploy_gives_it_nothing() {
    let new = agent(TARGET, 1);
    let plainly = assign_plainly(&new);
    let publish = Publish { host: 8080, guest: 80, protocol: Protocol::Tcp };
    for assignment in [
        Assignment { args: Some(vec!["--config=elsewhere".into()]), ..plainly.clone() },
        Assignment { env: vec![(name("LD_PRELOAD"), "x".into())], ..plainly.clone() },
        Assignment { publish: Some(vec![publish]), ..plainly.clone() },
    ] {
        assert_eq!(refusal(&steps_of(&assignment, &Policy::default(), &having(&[&new]))), Code::Policy);
    }
}

#[test]
fn a_root_bans_it_by_its_release_its_bytes_or_its_counter() {
    let (new, fleet) = (agent(TARGET, 3), fleet());
    let banned = |root| bans(&root, &new.app, &program(&new));
    assert!(!banned(fleet.root.clone()));
    for digest in [order(&new).digest, new.module.sha256] {
        assert!(banned(fleet.clone().with(|root| root.revoked.push(digest)).root));
    }
    let floor = |counter| fleet.clone().with(|root| root.floors.push(common::floor(new.app.as_str(), counter))).root;
    assert!(!banned(floor(3)) && banned(floor(4)));
}

#[test]
fn the_release_of_the_agent_that_runs_stays_on_the_disk() {
    let (old, new, hello) = (agent(TARGET, 1), agent(TARGET, 2), release("hello", 1));
    let mut actual = having(&[&new]);
    let (_, started) = Record::new(PACKAGED).stage(program(&old), 1).launch(PACKAGED);
    actual.own.as_mut().unwrap().record = Some(started.confirm());
    let releases = [&old, &new, &hello].map(|release| order(release).digest);
    let stored = Stored { releases: releases.into(), ..Stored::default() };
    let garbage = collect(&[&assign_plainly(&new)], &actual, &Default::default(), &stored);
    assert_eq!(garbage, [Garbage::Release(order(&hello).digest)]);
}

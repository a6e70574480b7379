//! What goes from a device's disk, and what never does.
#![allow(clippy::unwrap_used, reason = "test helpers")]

mod common;

use std::collections::BTreeMap;

use common::{Fleet, assign, order, release};
use dunlin_core::{
    collect::{Garbage, Good, Proven, Stored, collect},
    limits,
    policy::{Policy, admit},
    reconcile::{Actual, Last, Ran},
    wire::{AppName, Digest, Release, seal},
};

fn digest(release: &Release) -> Digest {
    order(release).digest
}

fn proven(release: &Release) -> Proven {
    Proven { release: digest(release), module: release.module.sha256 }
}

/// A device that has these releases on its disk, and is about to run the last of them.
fn device(releases: &[&Release]) -> (Actual, Stored) {
    let (mut actual, mut stored) = (Actual::default(), Stored::default());
    for release in releases {
        actual.releases.insert(digest(release), Fleet::new().verified(release));
        actual.modules.insert(release.module.sha256);
        stored.releases.insert(digest(release));
        stored.modules.insert(release.module.sha256);
    }
    (actual, stored)
}

fn ran(actual: &mut Actual, release: &Release) {
    let setup = admit(&Policy::default(), release, &assign(release)).unwrap();
    actual.apps.insert(release.app.clone(), Ran { release: digest(release), setup: setup.digest() });
    let last = Last { order: order(release), asks: release.asks.clone(), setup };
    actual.last.insert(release.app.clone(), last);
}

fn goods(releases: &[&Release]) -> BTreeMap<AppName, Good> {
    let mut good = BTreeMap::<AppName, Good>::new();
    for release in releases {
        let entry = good.entry(release.app.clone()).or_default();
        *entry = entry.with(proven(release)).unwrap();
    }
    good
}

fn both(release: &Release) -> [Garbage; 2] {
    [Garbage::Release(digest(release)), Garbage::Module(release.module.sha256)]
}

#[test]
fn the_one_before_goes_only_when_two_successors_ran_well() {
    let [first, second, third] = [1, 2, 3].map(|counter| release("hello", counter));
    let (mut actual, stored) = device(&[&first, &second, &third]);
    let plan = assign(&third);
    ran(&mut actual, &third);
    // The third is started and not proven: the way back to the second, and from there to the first.
    assert_eq!(collect(&[&plan], &actual, &goods(&[&first, &second]), &stored), []);
    let gone = collect(&[&plan], &actual, &goods(&[&first, &second, &third]), &stored);
    assert_eq!(gone, both(&first));
}

#[test]
fn what_runs_ran_last_or_is_ordered_stays_even_if_it_never_ran_well() {
    let [first, second] = [1, 2].map(|counter| release("hello", counter));
    let (mut actual, stored) = device(&[&first, &second]);
    ran(&mut actual, &first);
    assert_eq!(collect(&[&assign(&second)], &actual, &BTreeMap::new(), &stored), []);
}

#[test]
fn an_app_that_the_plan_has_no_more_leaves_nothing_and_takes_nothing_with_it() {
    let (hello, bell) = (release("hello", 1), release("bell", 1));
    let (mut actual, stored) = device(&[&hello, &bell]);
    ran(&mut actual, &bell);
    assert_eq!(collect(&[&assign(&bell)], &actual, &goods(&[&hello, &bell]), &stored), both(&hello));
    // Until it is stopped it is needed.
    ran(&mut actual, &hello);
    assert_eq!(collect(&[&assign(&bell)], &actual, &goods(&[&hello, &bell]), &stored), []);
}

#[test]
fn a_module_that_two_releases_share_stays_with_either() {
    let first = release("hello", 1);
    let second = Release { module: first.module.clone(), ..release("hello", 2) };
    let (mut actual, stored) = device(&[&first, &second]);
    ran(&mut actual, &second);
    let gone = collect(&[&assign(&second)], &actual, &goods(&[&second]), &stored);
    assert_eq!(gone, [Garbage::Release(digest(&first))]);
}

#[test]
fn while_a_needed_release_is_not_known_no_module_goes() {
    let [first, second] = [1, 2].map(|counter| release("hello", counter));
    let (mut actual, mut stored) = device(&[&first]);
    stored.parts.insert(second.module.sha256);
    let old = Digest::of(b"of long ago");
    stored.releases.insert(old);
    stored.modules.insert(old);
    let gone = collect(&[&assign(&second)], &actual, &BTreeMap::new(), &stored);
    assert!(gone.len() == 2 && gone.iter().all(|gone| matches!(gone, Garbage::Release(_))), "{gone:?}");
    actual.releases.insert(digest(&second), Fleet::new().verified(&second));
    let gone = collect(&[&assign(&second)], &actual, &BTreeMap::new(), &stored);
    assert!(!gone.contains(&Garbage::Part(second.module.sha256)), "it is on its way: {gone:?}");
    assert!(gone.contains(&Garbage::Module(old)), "{gone:?}");
}

#[test]
fn parts_of_what_nobody_wants_and_of_what_is_whole_go() {
    let hello = release("hello", 1);
    let (mut actual, mut stored) = device(&[&hello]);
    ran(&mut actual, &hello);
    let other = Digest::of(b"given up");
    stored.parts.extend([other, hello.module.sha256]);
    let gone = collect(&[&assign(&hello)], &actual, &goods(&[&hello]), &stored);
    assert!(gone.len() == 2 && gone.iter().all(|gone| matches!(gone, Garbage::Part(_))), "{gone:?}");
}

#[test]
fn the_record_of_what_ran_well_is_short_and_has_each_once() {
    let releases: Vec<_> = (1..5).map(|counter| release("hello", counter)).collect();
    let mut good = Good::default();
    for release in &releases {
        good = good.with(proven(release)).unwrap();
        assert_eq!(good.with(proven(release)), None, "no news");
    }
    let again = good.with(proven(&releases[2])).unwrap();
    let expected = [proven(&releases[2]), proven(&releases[3])];
    assert_eq!(seal(&again), seal(&expected.to_vec()));
    assert_eq!(Good::decode(&seal(&again)), Ok(again));
    let long = vec![proven(&releases[0]); limits::GOOD_RELEASES_MAX + 1];
    assert!(Good::decode(&seal(&long)).is_err() && Good::decode(b"x").is_err());
}

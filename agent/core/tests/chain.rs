//! The root chain, and what a new root does to what was accepted under an older one.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod common;

use common::{DEPLOY, Fleet, NOW, ROOT, name, plan, refused, release, role, sign};
use dunlin_core::{
    Code,
    trust::{Accepted, Chain, accept_plan, check_fresh, may_widen, stands, stored_plan, verify_release},
    wire::{Digest, Floor, Plan, Root, Timestamp},
};

/// A chain of root 1 and this successor of it, signed by root 1's keys and its own.
fn chain(change: impl FnOnce(&mut Root)) -> Chain {
    let fleet = Fleet::new();
    let mut chain = Chain::new(fleet.trusted());
    let mut root = Root { version: 2, ..fleet.root };
    change(&mut root);
    let next = chain.verify_next(&sign(&root, &[ROOT]).encode()).unwrap();
    chain.adopt(next);
    chain
}

#[test]
fn the_last_adopted_root_is_in_force_and_names_its_successor() {
    let chain = chain(|_| {});
    assert_eq!((chain.current().version, chain.next_version()), (2, 3));
    let again = sign(&Root { version: 2, ..Fleet::new().root }, &[ROOT]).encode();
    assert_eq!(refused(chain.verify_next(&again)), Code::RootGap);
}

#[test]
fn a_stored_plan_outlives_the_keys_that_signed_it_and_no_new_one_does() {
    let bytes = Fleet::new().sign_plan(&plan(7, vec![]));
    let chain = chain(|root| root.deploy = role(1, &[77]));
    assert_eq!(chain.stored_plan(&bytes).unwrap().sequence, 7);
    assert_eq!(refused(accept_plan(chain.current(), None, &bytes, NOW)), Code::Unsigned);
    let strangers = sign(&plan(7, vec![]), &[78]).encode();
    assert_eq!(refused(chain.stored_plan(&strangers)), Code::Unsigned);
}

#[test]
fn new_deploy_keys_free_a_fleet_from_the_last_sequence_and_only_they() {
    let bytes = Fleet::new().sign_plan(&plan(u64::MAX, vec![]));
    let last = stored_plan(&Fleet::new().trusted(), &bytes).unwrap();
    let unchanged = chain(|_| {});
    assert_eq!(last.mark_under(unchanged.current()), Some(last.mark()));
    let both = chain(|root| root.deploy = role(1, &[DEPLOY, 77]));
    assert_eq!(last.mark_under(both.current()), Some(last.mark()), "the old key may still sign");
    let rotated = chain(|root| root.deploy = role(1, &[77]));
    assert_eq!(last.mark_under(rotated.current()), None);
    let first = sign(&plan(1, vec![]), &[77]).encode();
    let mark = last.mark_under(rotated.current());
    assert!(matches!(accept_plan(rotated.current(), mark.as_ref(), &first, NOW), Ok(Accepted::New(_))));
}

#[test]
fn a_new_root_decides_anew_what_may_run() {
    let hello = release("hello", 3);
    let held = Fleet::new().verified(&hello);
    let code = |change: &dyn Fn(&mut Root)| stands(chain(change).current(), &held).map_err(|refusal| refusal.code);
    assert_eq!(code(&|_| {}), Ok(()));
    assert_eq!(code(&|root| root.revoked = vec![held.digest()]), Err(Code::Revoked));
    assert_eq!(code(&|root| root.revoked = vec![hello.module.sha256]), Err(Code::Revoked));
    assert_eq!(code(&|root| root.revoked = vec![Digest::of(b"other")]), Ok(()));
    let floor = |app: &str, counter| vec![Floor { app: name(app), counter }];
    assert_eq!(code(&|root| root.floors = floor("hello", 4)), Err(Code::BelowFloor));
    assert_eq!(code(&|root| root.floors = floor("hello", 3)), Ok(()));
    assert_eq!(code(&|root| root.floors = floor("other", 9)), Ok(()));
}

#[test]
fn widening_needs_the_grant_keys_where_there_are_any() {
    let fleet = Fleet::new().with(|root| root.grant = Some(role(2, &[50, 51])));
    let hello = release("hello", 1);
    let signed = |seeds: &[u8]| {
        let bytes = sign(&hello, seeds).encode();
        may_widen(&fleet.root, &verify_release(&fleet.trusted(), &hello.app, &common::order(&hello), &bytes).unwrap())
    };
    let [release_key] = fleet.release_keys[..] else { unreachable!("one release key") };
    assert!(!signed(&[release_key]));
    assert!(!signed(&[release_key, 50]), "one of two");
    assert!(signed(&[release_key, 50, 51]));
    assert!(may_widen(&Fleet::new().root, &Fleet::new().verified(&hello)), "nobody is to be asked");
}

#[test]
fn a_plan_in_force_is_fresh_until_its_time_is_over() {
    let until = Plan { not_after: Timestamp(NOW.0 + 5), ..plan(1, vec![]) };
    let plan = stored_plan(&Fleet::new().trusted(), &Fleet::new().sign_plan(&until)).unwrap();
    assert_eq!(check_fresh(&plan, Timestamp(NOW.0 + 5)), Ok(()));
    assert_eq!(refused(check_fresh(&plan, Timestamp(NOW.0 + 6))), Code::PlanExpired);
}

//! One test a rule of the design, named after it, with the code that its breach is refused with.
#![allow(clippy::unwrap_used, reason = "test helpers")]

mod common;

use common::{
    DEPLOY, Fleet, LATER, NOW, RELEASE, ROOT, SOON, STRANGER, agent, assign, floor, name, order, plan, refused,
    release, role, sign,
};
use dunlin_core::{
    Code, Refusal,
    trust::{self, Accepted, PlanMark, accept_plan, first_root, next_root, stored_plan, verify_release},
    wire::{Envelope, Plan, Release, ReleaseRef, ReleaseRole, Root, Timestamp},
};

/// What a board of this fleet that never had a plan makes of one, signed by these keys.
fn take(fleet: &Fleet, plan: &Plan, seeds: &[u8]) -> Result<Accepted, Refusal> {
    accept_plan(&fleet.trusted(), None, &sign(plan, seeds).encode(), NOW)
}

/// What it makes of a plan after another one.
fn take_after(fleet: &Fleet, last: &Plan, plan: &Plan, now: Timestamp) -> Result<Accepted, Refusal> {
    let mark = mark(last);
    accept_plan(&fleet.trusted(), Some(&mark), &fleet.sign_plan(plan), now)
}

fn mark(plan: &Plan) -> PlanMark {
    PlanMark { sequence: plan.sequence, digest: Envelope::unsigned(plan).digest() }
}

/// What a board makes of a release of `hello` that is ordered as it is.
fn verify(fleet: &Fleet, release: &Release, seeds: &[u8]) -> Result<(), Refusal> {
    let bytes = sign(release, seeds).encode();
    verify_release(&fleet.trusted(), &release.app, &order(release), &bytes).map(|verified| {
        assert_eq!(*verified, *release);
    })
}

fn verify_as(app: &str, order: ReleaseRef, bytes: &[u8]) -> Result<(), Refusal> {
    verify_release(&Fleet::new().trusted(), &name(app), &order, bytes).map(|_| ())
}

fn deploy_by(threshold: u8, seeds: &[u8]) -> Fleet {
    Fleet::new().with(|root| root.deploy = role(threshold, seeds))
}

mod thresholds {
    use super::*;

    #[test]
    fn one_of_one() {
        let fleet = Fleet::new();
        let Ok(Accepted::New(verified)) = take(&fleet, &plan(1, vec![]), &[DEPLOY]) else { panic!("it is good") };
        assert_eq!(*verified, plan(1, vec![]));
        assert_eq!(verified.mark(), mark(&plan(1, vec![])));
        assert_eq!(refused(take(&fleet, &plan(1, vec![]), &[])), Code::Unsigned);
    }

    #[test]
    fn two_of_three() {
        let fleet = deploy_by(2, &[20, 21, 22]);
        for seeds in [&[20, 21][..], &[22, 20], &[20, 21, 22]] {
            assert!(take(&fleet, &plan(1, vec![]), seeds).is_ok(), "{seeds:?}");
        }
        for seeds in [&[20][..], &[21], &[]] {
            assert_eq!(refused(take(&fleet, &plan(1, vec![]), seeds)), Code::Unsigned, "{seeds:?}");
        }
    }

    #[test]
    fn one_key_counts_once() {
        let fleet = deploy_by(2, &[20, 21]);
        assert_eq!(refused(take(&fleet, &plan(1, vec![]), &[20, 20])), Code::Malformed);
        let twice = Fleet::new().with(|root| root.root = role(2, &[ROOT, ROOT]));
        assert_eq!(refused(first_root(&twice.sign_root())), Code::Malformed);
    }

    #[test]
    fn unknown_keys_count_nothing_and_harm_nothing() {
        let fleet = deploy_by(2, &[20, 21]);
        assert_eq!(refused(take(&fleet, &plan(1, vec![]), &[20, STRANGER])), Code::Unsigned);
        assert!(take(&fleet, &plan(1, vec![]), &[STRANGER, 20, 21]).is_ok());
        let mut envelope = sign(&plan(1, vec![]), &[STRANGER, 20, 21]);
        envelope.signatures[0].s = [7; 32];
        assert!(accept_plan(&fleet.trusted(), None, &envelope.encode(), NOW).is_ok());
    }

    #[test]
    fn a_bad_signature_by_a_known_key_is_refused_though_enough_are_good() {
        let fleet = deploy_by(1, &[20, 21]);
        let mut envelope = sign(&plan(1, vec![]), &[20, 21]);
        envelope.signatures[1].r = envelope.signatures[0].r;
        assert_eq!(refused(accept_plan(&fleet.trusted(), None, &envelope.encode(), NOW)), Code::BadSignature);
    }

    /// RFC 8032's equation holds for any message under a key of small order; `verify_strict` refuses it.
    #[test]
    fn a_key_of_small_order_signs_nothing() {
        let mut fleet = Fleet::new();
        let mut identity = [0; 32];
        identity[0] = 1;
        fleet.root.deploy.keys[0].0 = identity;
        let mut envelope = sign(&plan(1, vec![]), &[DEPLOY]);
        envelope.signatures[0].key.0 = identity;
        envelope.signatures[0].r = identity;
        envelope.signatures[0].s = [0; 32];
        assert_eq!(refused(accept_plan(&fleet.trusted(), None, &envelope.encode(), NOW)), Code::BadSignature);
    }

    /// The first root vouches for itself, so that a file damaged on the way shows.
    #[test]
    fn the_first_root_holds_its_own_threshold() {
        let fleet = Fleet::new().with(|root| root.root = role(2, &[10, 11]));
        assert!(first_root(&sign(&fleet.root, &[10, 11]).encode()).is_ok());
        assert_eq!(refused(first_root(&sign(&fleet.root, &[10]).encode())), Code::Unsigned);
        let mut envelope = sign(&fleet.root, &[10, 11]);
        envelope.signatures[1].s[0] ^= 1;
        assert_eq!(refused(first_root(&envelope.encode())), Code::BadSignature);
    }
}

mod audience {
    use super::*;

    #[test]
    fn a_plan_for_another_fleet() {
        let other = Plan { fleet: name("herd"), ..plan(1, vec![]) };
        assert_eq!(refused(take(&Fleet::new(), &other, &[DEPLOY])), Code::WrongFleet);
        let stored = sign(&other, &[DEPLOY]).encode();
        assert_eq!(refused(stored_plan(&Fleet::new().trusted(), &stored)), Code::WrongFleet);
    }

    #[test]
    fn a_release_of_another_app() {
        let bell = release("bell", 3);
        assert_eq!(refused(verify_as("hello", order(&bell), &sign(&bell, &[RELEASE]).encode())), Code::WrongApp);
    }

    #[test]
    fn a_release_other_than_the_ordered_one() {
        let (three, four) = (release("hello", 3), release("hello", 4));
        let swapped = ReleaseRef { digest: order(&four).digest, counter: 3 };
        assert_eq!(refused(verify_as("hello", swapped, &sign(&three, &[RELEASE]).encode())), Code::WrongDigest);
    }

    #[test]
    fn a_release_with_another_counter_than_the_plan_names() {
        let three = release("hello", 3);
        for counter in [2, 4] {
            let order = ReleaseRef { counter, ..order(&three) };
            assert_eq!(refused(verify_as("hello", order, &sign(&three, &[RELEASE]).encode())), Code::WrongCounter);
        }
    }
}

mod no_going_back {
    use super::*;

    #[test]
    fn an_older_plan() {
        let fleet = Fleet::new();
        assert_eq!(refused(take_after(&fleet, &plan(5, vec![]), &plan(4, vec![]), NOW)), Code::OldPlan);
        assert!(matches!(take_after(&fleet, &plan(5, vec![]), &plan(6, vec![]), NOW), Ok(Accepted::New(_))));
        let far = plan(u64::MAX, vec![]);
        assert!(matches!(take_after(&fleet, &plan(5, vec![]), &far, NOW), Ok(Accepted::New(_))), "one that was away");
    }

    #[test]
    fn another_plan_of_the_same_sequence_is_a_fork() {
        let other = plan(5, vec![assign(&release("hello", 3))]);
        assert_eq!(refused(take_after(&Fleet::new(), &plan(5, vec![]), &other, NOW)), Code::Fork);
    }

    #[test]
    fn the_same_plan_again_is_no_fork_whenever_it_comes_and_whoever_signed_it() {
        let fleet = deploy_by(1, &[20, 21]);
        let last = mark(&plan(5, vec![]));
        for (seed, now) in [(20, NOW), (21, NOW), (20, Timestamp(u64::MAX))] {
            let bytes = sign(&plan(5, vec![]), &[seed]).encode();
            assert_eq!(accept_plan(&fleet.trusted(), Some(&last), &bytes, now), Ok(Accepted::Same));
        }
        let bytes = sign(&plan(5, vec![]), &[STRANGER]).encode();
        assert_eq!(refused(accept_plan(&fleet.trusted(), Some(&last), &bytes, NOW)), Code::Unsigned);
    }

    #[test]
    fn a_release_below_its_apps_security_floor() {
        let fleet =
            Fleet::new().with(|root| root.floors = vec![floor("hello", 3), floor("bell", 9), floor("hello", 2)]);
        assert_eq!(refused(verify(&fleet, &release("hello", 2), &[RELEASE])), Code::BelowFloor);
        assert_eq!(verify(&fleet, &release("hello", 3), &[RELEASE]), Ok(()));
        assert_eq!(verify(&fleet, &release("other", 0), &[RELEASE]), Ok(()));
    }

    #[test]
    fn a_revoked_release() {
        let bad = release("hello", 3);
        let fleet = Fleet::new().with(|root| root.revoked = vec![order(&bad).digest]);
        assert_eq!(refused(verify(&fleet, &bad, &[RELEASE])), Code::Revoked);
        assert_eq!(verify(&fleet, &release("hello", 4), &[RELEASE]), Ok(()));
    }

    #[test]
    fn a_revoked_module_under_whatever_release() {
        let bad = release("hello", 3);
        let fleet = Fleet::new().with(|root| root.revoked = vec![bad.module.sha256]);
        let again = Release { counter: 4, version: name("2"), ..bad.clone() };
        for release in [bad, again] {
            assert_eq!(refused(verify(&fleet, &release, &[RELEASE])), Code::Revoked);
        }
    }
}

mod freeze {
    use super::*;

    #[test]
    fn past_its_not_after_a_plan_is_not_accepted() {
        let fleet = Fleet::new();
        let at = |now| accept_plan(&fleet.trusted(), None, &fleet.sign_plan(&plan(1, vec![])), now);
        assert!(at(SOON).is_ok(), "until then it is");
        assert_eq!(refused(at(Timestamp(SOON.0 + 1))), Code::PlanExpired);
    }

    #[test]
    fn an_expired_root_blocks_new_plans() {
        let fleet = Fleet::new();
        let long = Plan { not_after: Timestamp(u64::MAX), ..plan(1, vec![]) };
        let at = |now| accept_plan(&fleet.trusted(), None, &fleet.sign_plan(&long), now);
        assert!(at(LATER).is_ok(), "until then it does not");
        assert_eq!(refused(at(Timestamp(LATER.0 + 1))), Code::RootExpired);
    }

    #[test]
    fn what_runs_keeps_running() {
        let fleet = Fleet::new().with(|root| root.expires = Timestamp(0));
        let bytes = fleet.sign_plan(&Plan { not_after: Timestamp(0), ..plan(1, vec![]) });
        assert!(stored_plan(&fleet.trusted(), &bytes).is_ok(), "no time is looked at");
        assert_eq!(
            refused(stored_plan(&fleet.trusted(), &sign(&plan(1, vec![]), &[RELEASE]).encode())),
            Code::Unsigned
        );
    }

    #[test]
    fn a_board_without_a_clock_takes_the_latest_witness() {
        let times = |times: &[u64]| trust::now(Timestamp(5), times.iter().map(|t| Timestamp(*t)));
        assert_eq!(times(&[]), Timestamp(5));
        assert_eq!(times(&[3, 9, 7]), Timestamp(9));
        assert_eq!(times(&[3, 4]), Timestamp(5));
    }

    /// A thief of the deploy key would end a fleet's updates for good with one plan from the year
    /// 2999, were its time believed: every later root and plan would have expired before it came.
    #[test]
    fn a_plan_from_the_future_is_held_against_its_own_time() {
        let fleet = Fleet::new();
        let issued = |issued, not_after| take(&fleet, &Plan { issued, not_after, ..plan(1, vec![]) }, &[DEPLOY]);
        assert!(issued(LATER, LATER).is_ok());
        let never = Timestamp(u64::MAX);
        assert_eq!(refused(issued(Timestamp(LATER.0 + 1), never)), Code::RootExpired);
        assert_eq!(refused(issued(never, never)), Code::RootExpired);
        assert_eq!(refused(issued(Timestamp(SOON.0 + 1), SOON)), Code::PlanExpired);
    }
}

mod two_keys {
    use super::*;

    #[test]
    fn the_release_key_orders_nothing() {
        assert_eq!(refused(take(&Fleet::new(), &plan(1, vec![]), &[RELEASE])), Code::Unsigned);
    }

    #[test]
    fn the_deploy_key_releases_nothing() {
        assert_eq!(refused(verify(&Fleet::new(), &release("hello", 3), &[DEPLOY])), Code::Unsigned);
    }

    #[test]
    fn the_root_key_does_neither_and_neither_makes_roots() {
        let fleet = Fleet::new();
        assert_eq!(refused(take(&fleet, &plan(1, vec![]), &[ROOT])), Code::Unsigned);
        assert_eq!(refused(verify(&fleet, &release("hello", 3), &[ROOT])), Code::Unsigned);
        let next = Root { version: 2, ..fleet.root.clone() };
        for seed in [DEPLOY, RELEASE] {
            assert_eq!(refused(next_root(&fleet.trusted(), &sign(&next, &[seed]).encode())), Code::Unsigned);
        }
    }

    #[test]
    fn a_release_role_can_be_limited_to_apps() {
        let limited = |apps: &[&str], threshold, seeds: &[u8]| ReleaseRole {
            apps: apps.iter().map(|app| name(app)).collect(),
            role: role(threshold, seeds),
        };
        let fleet = Fleet::new()
            .with(|root| root.release = vec![limited(&["hello"], 1, &[30]), limited(&["bell"], 2, &[31, 32])]);
        assert_eq!(verify(&fleet, &release("hello", 1), &[30]), Ok(()));
        assert_eq!(verify(&fleet, &release("bell", 1), &[31, 32]), Ok(()));
        assert_eq!(refused(verify(&fleet, &release("bell", 1), &[30])), Code::Unsigned);
        assert_eq!(refused(verify(&fleet, &release("hello", 1), &[31, 32])), Code::Unsigned);
        assert_eq!(refused(verify(&fleet, &release("other", 1), &[30, 31, 32])), Code::Unsigned);
    }

    #[test]
    fn who_may_release_agents_is_named() {
        let agents = agent("armv7-unknown-linux-gnueabihf", 1);
        assert_eq!(refused(verify(&Fleet::new(), &agents, &[RELEASE])), Code::Unsigned);
        let named = ReleaseRole { apps: vec![agents.app.clone()], role: role(1, &[30]) };
        let fleet = Fleet::new().with(|root| root.release.push(named));
        assert_eq!(verify(&fleet, &agents, &[30]), Ok(()));
        assert_eq!(refused(verify(&fleet, &agents, &[RELEASE])), Code::Unsigned);
        let others = agent("aarch64-unknown-linux-gnu", 1);
        assert_eq!(refused(verify(&fleet, &others, &[RELEASE, 30])), Code::Unsigned);
    }

    #[test]
    fn signatures_of_two_roles_do_not_add_up() {
        let pair = |seeds: &[u8]| ReleaseRole { apps: vec![], role: role(2, seeds) };
        let fleet = Fleet::new().with(|root| root.release = vec![pair(&[30, 31]), pair(&[32, 33])]);
        assert_eq!(refused(verify(&fleet, &release("hello", 1), &[30, 32])), Code::Unsigned);
        assert_eq!(verify(&fleet, &release("hello", 1), &[30, 32, 33]), Ok(()));
    }

    #[test]
    fn a_bad_signature_is_named_whichever_role_it_is_of() {
        let one = |seed| ReleaseRole { apps: vec![], role: role(1, &[seed]) };
        for seeds in [[30, 31], [31, 30]] {
            let fleet = Fleet::new().with(|root| root.release = seeds.map(one).into());
            let mut envelope = sign(&release("hello", 1), &[30]);
            envelope.signatures[0].s[0] ^= 1;
            let order = order(&release("hello", 1));
            let outcome = verify_release(&fleet.trusted(), &name("hello"), &order, &envelope.encode());
            assert_eq!(refused(outcome), Code::BadSignature);
        }
    }
}

mod root_chain {
    use super::*;

    /// From a root by key 10 to one by key 11.
    fn rotation() -> (Fleet, Root) {
        let fleet = Fleet { root_keys: vec![10], ..Fleet::new().with(|root| root.root = role(1, &[10])) };
        let next = Root { version: 2, root: role(1, &[11]), ..fleet.root.clone() };
        (fleet, next)
    }

    fn walk(fleet: &Fleet, next: &Root, seeds: &[u8]) -> Result<(), Refusal> {
        next_root(&fleet.trusted(), &sign(next, seeds).encode()).map(|root| assert_eq!(*root, *next))
    }

    #[test]
    fn root_n_is_signed_by_thresholds_of_root_n_minus_1_and_of_root_n() {
        let (fleet, next) = rotation();
        assert_eq!(walk(&fleet, &next, &[10, 11]), Ok(()));
        assert_eq!(refused(walk(&fleet, &next, &[10])), Code::Unsigned);
        assert_eq!(refused(walk(&fleet, &next, &[11])), Code::Unsigned);
        let strict = Root { root: role(2, &[10, 11]), ..next };
        assert_eq!(walk(&fleet, &strict, &[11, 10]), Ok(()));
        assert_eq!(refused(walk(&fleet, &strict, &[10])), Code::Unsigned);
    }

    #[test]
    fn only_the_direct_successor_follows() {
        let (fleet, next) = rotation();
        for version in [1, 3, u64::MAX] {
            let other = Root { version, ..next.clone() };
            assert_eq!(refused(walk(&fleet, &other, &[10, 11])), Code::RootGap, "{version}");
        }
    }

    #[test]
    fn nothing_follows_the_last_version_there_is() {
        let (fleet, next) = rotation();
        let fleet = fleet.with(|root| root.version = u64::MAX);
        for version in [1, u64::MAX] {
            let other = Root { version, ..next.clone() };
            assert_eq!(refused(walk(&fleet, &other, &[10, 11])), Code::RootGap, "{version}");
        }
    }

    #[test]
    fn a_root_of_another_fleet() {
        let (fleet, next) = rotation();
        let other = Root { fleet: name("herd"), ..next };
        assert_eq!(refused(walk(&fleet, &other, &[10, 11])), Code::WrongFleet);
    }

    #[test]
    fn an_expired_root_never_blocks_the_walk() {
        let (fleet, next) = rotation();
        let fleet = fleet.with(|root| root.expires = Timestamp(0));
        assert_eq!(walk(&fleet, &Root { expires: Timestamp(1), ..next.clone() }, &[10, 11]), Ok(()));
    }

    #[test]
    fn a_key_that_the_next_root_drops_has_no_say_any_more() {
        let fleet = Fleet::new();
        let next = Root { version: 2, deploy: role(1, &[20]), ..fleet.root.clone() };
        let next = next_root(&fleet.trusted(), &sign(&next, &[ROOT]).encode()).unwrap();
        let by = |seed| accept_plan(&next, None, &sign(&plan(1, vec![]), &[seed]).encode(), NOW);
        assert_eq!(refused(by(DEPLOY)), Code::Unsigned);
        assert!(by(20).is_ok());
    }
}

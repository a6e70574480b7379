//! The rules against a small model of them: documents by chance, good and bad, and the same verdict on each.
//!
//! `DUNLIN_SEED` has one sequence again.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

#[path = "../common/mod.rs"]
mod common;
mod rules;

use std::{collections::BTreeSet, sync::Mutex};

use common::{
    Fleet, key, name, order, public, release, role,
    seeded::{Chance, seeds},
    sign,
};
use dunlin_core::{
    Code,
    trust::{self, Accepted, Chain, Verified},
    wire::{Document, Floor, Plan, PublicKey, Release, ReleaseRef, ReleaseRole, Role, Timestamp},
};
use rules::{Model, Signed, Taken};

/// Keys that somebody in these fleets may hold.
const KEYS: std::ops::Range<u64> = 1..9;
const SEEDS: u64 = 60;
const STEPS: u64 = 80;
const APPS: [&str; 3] = ["hello", "clock", "door"];

/// A board, as the driver keeps it, and the model of it.
struct Board {
    chain: Chain,
    plan: Option<Verified<Plan>>,
    model: Model,
    clock: u64,
    releases: Vec<(Signed<Release>, ReleaseRef, &'static str)>,
    refused: BTreeSet<Code>,
}

/// Every reason that a document by itself can be refused for.
const REASONS: [Code; 13] = [
    Code::BadSignature,
    Code::Unsigned,
    Code::WrongFleet,
    Code::WrongApp,
    Code::RootGap,
    Code::RootExpired,
    Code::OldPlan,
    Code::Fork,
    Code::PlanExpired,
    Code::WrongDigest,
    Code::WrongCounter,
    Code::Revoked,
    Code::BelowFloor,
];

#[test]
fn the_rules_and_their_model_agree() {
    let seen = Mutex::new(BTreeSet::new());
    seeds(SEEDS, |mut chance| {
        let mut board = Board::new();
        for _ in 0..STEPS {
            match chance.of(0..10) {
                0..2 => board.root(&mut chance),
                2..6 => board.plan(&mut chance),
                6..8 => board.release(&mut chance),
                8 => board.clock += chance.of(0..30),
                _ => board.look_back(),
            }
        }
        seen.lock().unwrap().extend(board.refused);
    });
    // One seed alone does not come by all of them.
    let missed: Vec<_> = REASONS.iter().filter(|code| !seen.lock().unwrap().contains(code)).collect();
    assert!(missed.is_empty() || std::env::var_os("DUNLIN_SEED").is_some(), "never refused: {missed:?}");
}

impl Board {
    fn new() -> Self {
        let fleet = Fleet::new().with(|root| root.expires = Timestamp(1_000));
        let model = Model { roots: vec![fleet.root.clone()], plan: None };
        Self {
            chain: Chain::new(fleet.trusted()),
            plan: None,
            model,
            clock: 0,
            releases: Vec::new(),
            refused: BTreeSet::new(),
        }
    }

    /// A root that follows, or nearly.
    fn root(&mut self, chance: &mut Chance) {
        let mut root = self.model.root().clone();
        root.version += if chance.percent(85) { 1 } else { chance.of(0..3) };
        if chance.percent(5) {
            root.fleet = name("herd");
        }
        if chance.percent(30) {
            root.expires = Timestamp(self.clock + chance.of(0..60));
        }
        match chance.of(0..7) {
            0 => root.root = some_role(chance),
            1 => root.deploy = some_role(chance),
            2 => root.release = some_release_roles(chance),
            3 => root.grant = chance.percent(70).then(|| some_role(chance)),
            4 => root.floors = vec![Floor { app: name(chance.one::<&str>(&APPS)), counter: chance.of(0..6) }],
            5 => {
                let known = self.releases.iter().map(|(sent, ..)| rules::digest(&sent.document));
                root.revoked = known.filter(|_| chance.percent(30)).take(8).collect();
            }
            _ => {}
        }
        let signers = signers(chance, &[&self.model.root().root, &root.root]);
        let sent = Signed { document: root, good: signers.0, bad: signers.1 };
        let real = self.chain.verify_next(&bytes(&sent));
        let code = real.as_ref().map(drop).map_err(|refusal| refusal.code);
        assert_eq!(code, self.model.take_root(&sent), "{sent:?}");
        self.refused.extend(code.err());
        if let Ok(root) = real {
            self.chain.adopt(root);
        }
        assert_eq!(**self.chain.current(), *self.model.root());
    }

    /// A plan that is newer, or isn't.
    fn plan(&mut self, chance: &mut Chance) {
        let last = self.model.plan.as_ref().map(|plan| &plan.document);
        let mut plan = match last.filter(|_| chance.percent(20)) {
            Some(last) => last.clone(),
            None => {
                let sequence = last.map_or(1, |last| (last.sequence + chance.of(0..4)).saturating_sub(1).max(1));

                Plan {
                    issued: Timestamp(self.clock.saturating_sub(5) + chance.of(0..10)),
                    not_after: Timestamp(self.clock + chance.of(0..60)),
                    ..common::plan(sequence, vec![])
                }
            }
        };
        if chance.percent(5) {
            plan.fleet = name("herd");
        }
        let signers = signers(chance, &[&self.model.root().deploy]);
        let sent = Signed { document: plan, good: signers.0, bad: signers.1 };
        let now = trust::now(Timestamp(self.clock), self.plan.iter().map(|plan| plan.issued));
        let last = self.plan.as_ref().and_then(|plan| plan.mark_under(self.chain.current()));
        let real = trust::accept_plan(self.chain.current(), last.as_ref(), &bytes(&sent), now);
        let verdict = match &real {
            Ok(Accepted::New(_)) => Ok(Taken::New),
            Ok(Accepted::Same) => Ok(Taken::Same),
            Err(refusal) => Err(refusal.code),
        };
        assert_eq!(verdict, self.model.take_plan(&sent, self.clock), "{sent:?}");
        self.refused.extend(verdict.err());
        if let Ok(Accepted::New(plan)) = real {
            self.plan = Some(plan);
        }
    }

    /// A release that was ordered, or another in its place.
    fn release(&mut self, chance: &mut Chance) {
        let app = *chance.one::<&str>(&APPS);
        let ordered = release(app, chance.of(1..6));
        let mut order = order(&ordered);
        let document = if chance.percent(10) { release(app, chance.of(1..6)) } else { ordered };
        order.counter += u64::from(chance.percent(5));
        let app = if chance.percent(5) { *chance.one::<&str>(&APPS) } else { app };
        let root = self.model.root();
        let mut roles: Vec<_> = root.release.iter().map(|r| &r.role).filter(|_| chance.percent(60)).collect();
        roles.extend(root.grant.iter().filter(|_| chance.percent(50)));
        let signers = signers(chance, &roles);
        let sent = Signed { document, good: signers.0, bad: signers.1 };
        let real = trust::verify_release(self.chain.current(), &name(app), &order, &bytes(&sent));
        let code = real.as_ref().map(drop).map_err(|refusal| refusal.code);
        assert_eq!(code, self.model.take_release(&order, app, &sent), "{sent:?} for {order:?}");
        self.refused.extend(code.err());
        if let Ok(verified) = real {
            assert_eq!(trust::may_widen(self.chain.current(), &verified), self.model.may_widen(&sent), "{sent:?}");
        }
        self.releases.push((sent, order, app));
    }

    /// What was sent before, under the roots of now, and the plan that a restart finds.
    fn look_back(&self) {
        for (sent, order, app) in &self.releases {
            let real = self.chain.stored_release(&name(app), order, &bytes(sent));
            let code = real.map(drop).map_err(|refusal| refusal.code);
            assert_eq!(code, self.model.keep_release(order, app, sent), "{sent:?}");
        }
        let Some(plan) = &self.plan else { return };
        assert_eq!(*self.chain.stored_plan(&plan.to_bytes()).unwrap(), self.model.plan.as_ref().unwrap().document);
        let now = trust::now(Timestamp(self.clock), [plan.issued]);
        let stale = trust::check_fresh(plan, now).map_err(|refusal| refusal.code);
        assert_eq!(stale, if self.model.is_stale(self.clock) { Err(Code::PlanExpired) } else { Ok(()) });
    }
}

fn some_role(chance: &mut Chance) -> Role {
    let mut seeds: Vec<u8> = KEYS.map(|seed| seed as u8).filter(|_| chance.percent(30)).collect();
    if seeds.is_empty() {
        seeds.push(chance.of(KEYS) as u8);
    }
    role(chance.of(1..seeds.len() as u64 + 1) as u8, &seeds)
}

fn some_release_roles(chance: &mut Chance) -> Vec<ReleaseRole> {
    let mut roles = Vec::new();
    for _ in 0..chance.of(1..3) {
        let apps = APPS.iter().filter(|_| chance.percent(40)).map(|app| name(app)).collect();
        roles.push(ReleaseRole { apps, role: some_role(chance) });
    }
    roles
}

/// Who signs, and who seems to: mostly enough of each role, sometimes anybody.
fn signers(chance: &mut Chance, roles: &[&Role]) -> (BTreeSet<PublicKey>, BTreeSet<PublicKey>) {
    let mut good = BTreeSet::new();
    for role in roles {
        let enough = if chance.percent(85) { role.threshold.into() } else { role.keys.len() / 2 };
        good.extend(role.keys.iter().take(enough));
    }
    let anybody = |chance: &mut Chance| public(chance.of(KEYS) as u8);
    if chance.percent(20) {
        good.insert(anybody(chance));
    }
    let bad = chance.percent(8).then(|| anybody(chance)).into_iter().collect::<BTreeSet<_>>();
    (&good - &bad, bad)
}

/// The document as it is sent.
fn bytes<T: Document>(sent: &Signed<T>) -> Vec<u8> {
    let who = KEYS.map(|seed| seed as u8).filter(|seed| {
        let public = PublicKey(key(*seed).verifying_key().to_bytes());
        sent.good.contains(&public) || sent.bad.contains(&public)
    });
    let mut envelope = sign(&sent.document, &who.collect::<Vec<_>>());
    for signature in envelope.signatures.iter_mut().filter(|signature| sent.bad.contains(&signature.key)) {
        signature.s[0] ^= 1;
    }
    envelope.encode()
}

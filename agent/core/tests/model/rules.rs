//! The rules once more, short and slow, from the design's words and not from the code under test.
//!
//! Its documents are not bytes: it is told who signed them, and whose signature does not fit.

use std::collections::BTreeSet;

use dunlin_core::{
    Code,
    wire::{Digest, Envelope, Plan, PublicKey, Release, ReleaseRef, Role, Root},
};

/// A document, by whom it is signed, and who seems to have signed it but did not.
#[derive(Clone, Debug)]
pub(crate) struct Signed<T> {
    pub(crate) document: T,
    pub(crate) good: BTreeSet<PublicKey>,
    pub(crate) bad: BTreeSet<PublicKey>,
}

/// What a board trusts.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) roots: Vec<Root>,
    pub(crate) plan: Option<Signed<Plan>>,
}

/// What becomes of a plan that is not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    New,
    Same,
}

fn unless(broken: bool, code: Code) -> Result<(), Code> {
    if broken { Err(code) } else { Ok(()) }
}

impl<T> Signed<T> {
    /// Enough different keys of the role signed; strangers count nothing; a key of the role whose
    /// signature does not fit is never an accident.
    fn by(&self, role: &Role) -> Result<(), Code> {
        let keys: BTreeSet<_> = role.keys.iter().copied().collect();
        unless(!self.bad.is_disjoint(&keys), Code::BadSignature)?;
        unless(self.good.intersection(&keys).count() < role.threshold.into(), Code::Unsigned)
    }
}

impl Model {
    pub(crate) fn root(&self) -> &Root {
        self.roots.last().unwrap()
    }

    /// Root n is signed by thresholds of root n-1 and of root n; it is of this fleet; it is the next.
    pub(crate) fn take_root(&mut self, next: &Signed<Root>) -> Result<(), Code> {
        let Root { fleet, version, root, .. } = self.root();
        next.by(root)?;
        next.by(&next.document.root)?;
        unless(next.document.fleet != *fleet, Code::WrongFleet)?;
        unless(next.document.version != version + 1, Code::RootGap)?;
        self.roots.push(next.document.clone());
        Ok(())
    }

    /// The time is the latest of the clock and what a verified document has seen.
    fn now(&self, clock: u64) -> u64 {
        clock.max(self.plan.as_ref().map_or(0, |plan| plan.document.issued.0))
    }

    /// By the deploy keys, for this fleet, never older, never another of the same number, and in time.
    pub(crate) fn take_plan(&mut self, plan: &Signed<Plan>, clock: u64) -> Result<Taken, Code> {
        let root = self.root();
        plan.by(&root.deploy)?;
        unless(plan.document.fleet != root.fleet, Code::WrongFleet)?;
        // A plan by keys that do not count any more holds nobody back.
        if let Some(last) = self.plan.as_ref().filter(|last| last.by(&root.deploy).is_ok()) {
            unless(plan.document.sequence < last.document.sequence, Code::OldPlan)?;
            if plan.document.sequence == last.document.sequence {
                unless(plan.document != last.document, Code::Fork)?;
                return Ok(Taken::Same);
            }
        }
        let now = self.now(clock).max(plan.document.issued.0);
        unless(now > root.expires.0, Code::RootExpired)?;
        unless(now > plan.document.not_after.0, Code::PlanExpired)?;
        self.plan = Some(plan.clone());
        Ok(Taken::New)
    }

    /// Past a plan's not-after nothing new is accepted; what runs goes on.
    pub(crate) fn is_stale(&self, clock: u64) -> bool {
        self.plan.as_ref().is_some_and(|plan| self.now(clock) > plan.document.not_after.0)
    }

    /// What the plan names, by release keys of the app, and not banned.
    pub(crate) fn take_release(&self, order: &ReleaseRef, app: &str, sent: &Signed<Release>) -> Result<(), Code> {
        Self::release_under(self.root(), order, app, sent)?;
        Self::stands(self.root(), sent)
    }

    /// What ran once may have been signed under any root, and must not be banned by the last.
    pub(crate) fn keep_release(&self, order: &ReleaseRef, app: &str, sent: &Signed<Release>) -> Result<(), Code> {
        let under = |root| Self::release_under(root, order, app, sent).and_then(|()| Self::stands(root, sent));
        if !self.roots.iter().any(|root| under(root).is_ok()) {
            return under(self.root());
        }
        Self::stands(self.root(), sent)
    }

    /// Nothing that asks for more without the grant keys, where there are any.
    pub(crate) fn may_widen(&self, sent: &Signed<Release>) -> bool {
        self.root().grant.as_ref().is_none_or(|grant| sent.by(grant).is_ok())
    }

    fn release_under(root: &Root, order: &ReleaseRef, app: &str, sent: &Signed<Release>) -> Result<(), Code> {
        let release = &sent.document;
        unless(digest(release) != order.digest, Code::WrongDigest)?;
        let roles = root.release.iter().filter(|r| r.apps.is_empty() || r.apps.iter().any(|a| a.as_str() == app));
        let verdicts: Vec<_> = roles.map(|r| sent.by(&r.role)).collect();
        if !verdicts.contains(&Ok(())) {
            let forged = verdicts.contains(&Err(Code::BadSignature));
            return Err(if forged { Code::BadSignature } else { Code::Unsigned });
        }
        unless(release.app.as_str() != app, Code::WrongApp)?;
        unless(release.counter != order.counter, Code::WrongCounter)
    }

    fn stands(root: &Root, sent: &Signed<Release>) -> Result<(), Code> {
        let release = &sent.document;
        let below = root.floors.iter().any(|floor| floor.app == release.app && release.counter < floor.counter);
        unless(below, Code::BelowFloor)?;
        let revoked = [digest(release), release.module.sha256].iter().any(|digest| root.revoked.contains(digest));
        unless(revoked, Code::Revoked)
    }
}

pub(crate) fn digest(release: &Release) -> Digest {
    Envelope::unsigned(release).digest()
}

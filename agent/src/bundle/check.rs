//! What a board would say to a bundle, before anything of it is taken.

use std::{collections::BTreeMap, path::Path};

use dunlin_core::{
    Code, Refusal,
    trust::{Accepted, Chain, Verified, accept_plan, check_chunk, verify_release},
    wire::{
        Assignment, Bitmap, DeviceId, Digest, Envelope, Kind, Module, Plan, Root, Timestamp, bundle::Frame,
        plan::Labels,
    },
};
use serde::{Serialize, Serializer};

use super::{NotRead, Reader};

/// One thing in a bundle, and what came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What it is: `root 2`, `plan 7`, `hello 1.0.0`.
    pub what: String,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a thing in a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is good, and news.
    Accepted,
    /// It is in force here already.
    Known,
    /// It is good, as far as this device looks: the plan does not give it this.
    NotForUs,
    /// It would be refused.
    Refused(Refusal),
}

impl Serialize for Outcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Accepted => serializer.serialize_str("accepted"),
            Self::Known => serializer.serialize_str("known"),
            Self::NotForUs => serializer.serialize_str("not-for-us"),
            Self::Refused(refusal) => serializer.serialize_str(refusal.code.as_str()),
        }
    }
}

/// Holds a bundle against what a board, or everybody, trusts.
#[derive(Debug)]
pub struct Check {
    chain: Chain,
    plan: Option<Verified<Plan>>,
    device: Option<(DeviceId, Labels)>,
    now: Timestamp,
    modules: BTreeMap<Digest, Gathered>,
    findings: Vec<Finding>,
}

/// A module of which chunks came.
#[derive(Debug)]
struct Gathered {
    what: String,
    module: Module,
    have: Bitmap,
    refusal: Option<Refusal>,
}

impl Check {
    /// Against these roots and this plan in force, at this time; for every device, unless for one.
    pub fn new(chain: Chain, plan: Option<Verified<Plan>>, device: Option<(DeviceId, Labels)>, now: Timestamp) -> Self {
        Self { chain, plan, device, now, modules: BTreeMap::new(), findings: Vec::new() }
    }

    /// Reads all of a bundle; what is in it, in its order. A file that is not a whole bundle is an error.
    pub fn read(mut self, path: &Path) -> Result<Vec<Finding>, NotRead> {
        let mut reader = Reader::open(path)?;
        loop {
            match reader.next_frame()? {
                Frame::Root { version, envelope } => self.root(version, &envelope),
                Frame::Plan { envelope } => self.plan(&envelope),
                Frame::Release { digest, envelope } => self.release(digest, &envelope),
                Frame::Chunk { module, index, bytes } => self.chunk(&module, index, &bytes),
                Frame::End => break,
            }
        }
        for gathered in std::mem::take(&mut self.modules).into_values() {
            let outcome = gathered.outcome();
            self.found(gathered.what, outcome);
        }
        Ok(self.findings)
    }

    fn root(&mut self, version: u64, bytes: &[u8]) {
        // Its frame says which it is.
        let claimed = Envelope::decode(bytes, Kind::Root).and_then(|envelope| envelope.body::<Root>());
        let refusal = match claimed {
            Ok(root) if root.version == version => None,
            Ok(root) => Some(Refusal::new(Code::Malformed, format!("it is root {}", root.version))),
            Err(refusal) => Some(refusal),
        };
        if let Some(refusal) = refusal {
            return self.found(format!("root {version}"), Outcome::Refused(refusal));
        }
        let outcome = if version < self.chain.next_version() {
            Outcome::Known
        } else {
            match self.chain.verify_next(bytes) {
                Ok(root) => {
                    self.chain.adopt(root);
                    Outcome::Accepted
                }
                Err(refusal) => Outcome::Refused(refusal),
            }
        };
        self.found(format!("root {version}"), outcome);
    }

    fn plan(&mut self, bytes: &[u8]) {
        let root = self.chain.current();
        let last = self.plan.as_ref().and_then(|plan| plan.mark_under(root));
        let now = self.plan.as_ref().map_or(self.now, |plan| self.now.max(plan.issued));
        let outcome = match accept_plan(root, last.as_ref(), bytes, now) {
            Ok(Accepted::New(plan)) => {
                self.plan = Some(plan);
                Outcome::Accepted
            }
            Ok(Accepted::Same) => Outcome::Known,
            Err(refusal) => return self.found("plan".into(), Outcome::Refused(refusal)),
        };
        let sequence = self.plan.as_ref().map_or(0, |plan| plan.sequence);
        self.found(format!("plan {sequence}"), outcome);
    }

    fn release(&mut self, digest: Digest, bytes: &[u8]) {
        // Its frame says which it is: one that is another is refused whomever it is for.
        let claimed = Envelope::decode(bytes, Kind::Release).map(|envelope| envelope.digest());
        if claimed.as_ref() != Ok(&digest) {
            let sentence = format!("the bytes of another release than {}", digest.short());
            let refusal = claimed.err().unwrap_or_else(|| Refusal::new(Code::WrongDigest, sentence));
            return self.found(format!("release {}", digest.short()), Outcome::Refused(refusal));
        }
        let ordered = self.assignments().into_iter().find(|assignment| assignment.release.digest == digest);
        let Some(Assignment { app, release: order, .. }) = ordered else {
            return self.found(format!("release {}", digest.short()), Outcome::NotForUs);
        };
        match verify_release(self.chain.current(), &app, &order, bytes) {
            Ok(release) => {
                let (module, what) = (release.module.clone(), format!("{app} {}", release.version));
                let gathered = Gathered { what, have: Bitmap::new(module.count()), module, refusal: None };
                self.modules.entry(gathered.module.sha256).or_insert(gathered);
            }
            Err(refusal) => self.found(format!("release {} of {app}", digest.short()), Outcome::Refused(refusal)),
        }
    }

    fn assignments(&self) -> Vec<Assignment> {
        let Some(plan) = &self.plan else { return Vec::new() };
        match &self.device {
            Some((device, labels)) => plan.for_device(device, labels).into_iter().cloned().collect(),
            None => plan.assignments.clone(),
        }
    }

    fn chunk(&mut self, module: &Digest, index: u32, bytes: &[u8]) {
        // Of what this device does not get, it looks at nothing.
        let Some(gathered) = self.modules.get_mut(module) else { return };
        match check_chunk(&gathered.module, index, bytes) {
            Ok(()) => gathered.have.set(index),
            Err(refusal) => _ = gathered.refusal.get_or_insert(refusal),
        }
    }

    fn found(&mut self, what: String, outcome: Outcome) {
        self.findings.push(Finding { what, outcome });
    }
}

impl Gathered {
    fn outcome(&self) -> Outcome {
        let missing = self.have.missing().count();
        let lacks = (missing > 0).then(|| {
            let sentence = format!("the bundle lacks {missing} of its {} chunks", self.have.count());
            Refusal::new(Code::WrongModule, sentence)
        });
        self.refusal.clone().or(lacks).map_or(Outcome::Accepted, Outcome::Refused)
    }
}

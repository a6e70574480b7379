//! The life of the agent's own program: brought by a plan, tried once, then confirmed or given up.
//!
//! ```text
//!            stage             launch              confirm
//!   (good) ────────▶ staged ──────────▶ started ───────────▶ it is the good one
//!                                          │ fail, or launch once more
//!                                          ▼
//!                                        failed, and the good one is started
//! ```
//!
//! What is written down is a [`Record`]; each of its steps is on the disk before it is acted on. A board
//! that loses its power, or whose agent dies, between any two of them starts a program that is known to
//! be good: one that was started and never confirmed is not started a second time.

use alloc::{format, string::String};
use serde::{Deserialize, Serialize};

use crate::{
    Code, Refusal,
    policy::Policy,
    refusal::ensure,
    wire::{AppName, Digest, Release, ReleaseRef, Root, unseal},
};

/// Why a program that was tried and never confirmed is given up.
const DIED: &str = "it ended, or the board lost power, before it had reached the broker and reported";

/// What a device keeps of its agent's programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The digest of the program that was installed by hand, or by a package, when this was written.
    pub packaged: Digest,
    /// What is started instead of it, if anything.
    pub good: Option<Program>,
    /// What is to be tried, is being tried, or was tried in vain.
    pub trial: Option<Trial>,
}

/// A program that a plan brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// The release that it is of.
    pub order: ReleaseRef,
    /// The digest of the program itself.
    pub sha256: Digest,
}

/// A program that is not known to be good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// The program.
    pub program: Program,
    /// Milliseconds from its start in which it has to reach the broker and report.
    pub within_ms: u32,
    /// How far it is.
    pub stage: Stage,
}

/// How far a trial is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// It is on the disk, and was never started.
    Staged,
    /// It was started, or was about to be.
    Started,
    /// It is given up, and why.
    Failed(String),
}

/// Which program is to be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Launch {
    /// The one that was installed.
    Packaged,
    /// One that a plan brought.
    Brought(Program),
}

impl Record {
    /// Of a device that has nothing but what was installed.
    pub fn new(packaged: Digest) -> Self {
        Self { packaged, good: None, trial: None }
    }

    /// The record that a device wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        unseal(bytes, "record of the agent's programs")
    }

    /// What to start, and the record that has to be on the disk before it is.
    ///
    /// Whoever installs another program means it: it is started, and nothing of before counts.
    #[must_use]
    pub fn launch(self, packaged: Digest) -> (Launch, Self) {
        if self.packaged != packaged {
            return (Launch::Packaged, Self::new(packaged));
        }
        let (launch, stage) = match &self.trial {
            Some(Trial { program, stage: Stage::Staged, .. }) => (Some(*program), Some(Stage::Started)),
            Some(Trial { stage: Stage::Started, .. }) => (self.good, Some(Stage::Failed(DIED.into()))),
            Some(Trial { stage: Stage::Failed(_), .. }) | None => (self.good, None),
        };
        let trial = self.trial.map(|trial| Trial { stage: stage.unwrap_or(trial.stage.clone()), ..trial });
        (launch.map_or(Launch::Packaged, Launch::Brought), Self { trial, ..self })
    }

    /// This program can't be started, or may not be any more.
    #[must_use]
    pub fn without(self, program: &Program, why: &str) -> Self {
        let good = self.good.filter(|good| good != program);
        match &self.trial {
            Some(trial) if trial.program == *program => Self { good, ..self.fail(why) },
            _ => Self { good, ..self },
        }
    }

    /// A program is on the disk, to be tried at the next start.
    #[must_use]
    pub fn stage(self, program: Program, within_ms: u32) -> Self {
        Self { trial: Some(Trial { program, within_ms, stage: Stage::Staged }), ..self }
    }

    /// What is being tried has reached the broker and reported: it is the good one.
    #[must_use]
    pub fn confirm(self) -> Self {
        match self.trial {
            Some(Trial { program, stage: Stage::Started, .. }) => Self { good: Some(program), trial: None, ..self },
            trial => Self { trial, ..self },
        }
    }

    /// What is being tried is given up.
    #[must_use]
    pub fn fail(self, why: &str) -> Self {
        let failed = |trial: Trial| match trial.stage {
            Stage::Staged | Stage::Started => Trial { stage: Stage::Failed(why.into()), ..trial },
            Stage::Failed(_) => trial,
        };
        Self { trial: self.trial.map(failed), ..self }
    }

    /// Why this release was given up, if it was the last one that was tried.
    pub fn failure(&self, release: &Digest) -> Option<&str> {
        match &self.trial {
            Some(Trial { program, stage: Stage::Failed(why), .. }) if program.order.digest == *release => Some(why),
            _ => None,
        }
    }

    /// The record without a trial that failed and that the plan does not order any more; nothing if there is none.
    pub fn over(&self, ordered: Option<&Digest>) -> Option<Self> {
        let failed = |trial: &&Trial| matches!(trial.stage, Stage::Failed(_));
        let trial = self.trial.as_ref().filter(failed)?;
        let over = ordered != Some(&trial.program.order.digest);
        over.then(|| Self { trial: None, ..self.clone() })
    }

    /// Whether this program is kept on the disk.
    pub fn needs(&self, sha256: &Digest) -> bool {
        self.kept().any(|program| program.sha256 == *sha256)
    }

    /// The releases of the programs that are kept.
    pub fn releases(&self) -> impl Iterator<Item = Digest> {
        self.kept().map(|program| program.order.digest)
    }

    /// What may be started.
    fn kept(&self) -> impl Iterator<Item = &Program> {
        let tried = self.trial.as_ref().filter(|trial| !matches!(trial.stage, Stage::Failed(_)));
        self.good.iter().chain(tried.map(|trial| &trial.program))
    }
}

/// The agent itself, where it can be replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    /// What plans call its program.
    pub app: AppName,
    /// The digest of the program that runs; nothing while that is being found out.
    pub runs: Option<Digest>,
    /// A program is being staged, or is on trial: one at a time.
    pub busy: bool,
    /// What was written down last.
    pub record: Option<Record>,
}

/// Holds if a board may run this release as its agent.
pub fn admit(policy: &Policy, own: Option<&Own>, release: &Release, narrow: bool) -> Result<(), Refusal> {
    let Release { app, version, .. } = release;
    ensure!(policy.agent, Policy, "{app} {version}, but this device does not let its agent be replaced");
    let Some(own) = own else {
        let sentence = format!("{app} {version}, but the agent of this device is part of another program");
        return Err(Refusal::new(Code::Policy, sentence));
    };
    ensure!(*app == own.app, Policy, "{app} {version}, but this device runs {}", own.app);
    // *Widening*: what a program asks for cannot be read off it; it is everything.
    ensure!(!narrow, Widening, "{app} {version}, a program of the board's own, and the grant keys have not signed it");
    Ok(())
}

/// Whether a root bans a program that it, or an earlier root, let through.
pub fn bans(root: &Root, app: &AppName, program: &Program) -> bool {
    let revoked = [program.order.digest, program.sha256].iter().any(|digest| root.revoked.contains(digest));
    revoked || program.order.counter < root.floor(app)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKAGED: Digest = Digest([0; 32]);

    fn program(counter: u8) -> Program {
        let order = ReleaseRef { digest: Digest([counter; 32]), counter: counter.into() };
        Program { order, sha256: Digest([0x10 | counter; 32]) }
    }

    fn record(good: Option<u8>, trial: Option<(u8, Stage)>) -> Record {
        let trial = trial.map(|(counter, stage)| Trial { program: program(counter), within_ms: 1_000, stage });
        Record { packaged: PACKAGED, good: good.map(program), trial }
    }

    fn failed(why: &str) -> Stage {
        Stage::Failed(why.into())
    }

    /// Every state that a record can be in, and what each event makes of it.
    #[test]
    fn the_whole_table() {
        use Stage::{Staged, Started};
        for good in [None, Some(1)] {
            let before = good.map_or(Launch::Packaged, |good| Launch::Brought(program(good)));
            let tried = Launch::Brought(program(2));
            for (trial, launch, launched, confirmed, fails) in [
                (None, before, None, None, None),
                (Some(Staged), tried, Some(Started), Some(Staged), Some(failed("why"))),
                (Some(Started), before, Some(failed(DIED)), None, Some(failed("why"))),
                (Some(failed("x")), before, Some(failed("x")), Some(failed("x")), Some(failed("x"))),
            ] {
                let with = |stage: Option<Stage>| record(good, stage.map(|stage| (2, stage)));
                let now = with(trial.clone());
                assert_eq!(now.clone().launch(PACKAGED), (launch, with(launched)), "{now:?}");
                let good_now = if trial == Some(Started) { record(Some(2), None) } else { with(confirmed) };
                assert_eq!(now.clone().confirm(), good_now, "{now:?}");
                assert_eq!(now.clone().fail("why"), with(fails), "{now:?}");
                assert_eq!(now.clone().stage(program(3), 1_000), record(good, Some((3, Staged))), "{now:?}");
                assert_eq!(now.clone().launch(Digest([9; 32])), (Launch::Packaged, Record::new(Digest([9; 32]))));
            }
        }
    }

    #[test]
    fn an_unconfirmed_program_is_not_started_twice() {
        let staged = record(Some(1), Some((2, Stage::Staged)));
        let mut starts = 0;
        let mut now = staged;
        for _ in 0..5 {
            let (launch, next) = now.launch(PACKAGED);
            starts += usize::from(launch == Launch::Brought(program(2)));
            now = next;
        }
        assert_eq!(starts, 1);
        assert_eq!(now.failure(&program(2).order.digest), Some(DIED));
        assert_eq!(now.failure(&program(1).order.digest), None);
    }

    #[test]
    fn what_cannot_be_started_leaves_something_that_can() {
        let (launch, now) = record(Some(1), Some((2, Stage::Staged))).launch(PACKAGED);
        assert_eq!(launch, Launch::Brought(program(2)));
        let (launch, now) = now.without(&program(2), "it is damaged").launch(PACKAGED);
        assert_eq!(launch, Launch::Brought(program(1)));
        assert_eq!(now.failure(&program(2).order.digest), Some("it is damaged"));
        let (launch, _) = now.without(&program(1), "it is damaged").launch(PACKAGED);
        assert_eq!(launch, Launch::Packaged);
    }

    #[test]
    fn a_failure_is_over_when_the_plan_orders_something_else() {
        let now = record(Some(1), Some((2, failed("why"))));
        let [one, two] = [1, 2].map(|counter| program(counter).order.digest);
        assert_eq!(now.over(Some(&two)), None);
        for ordered in [Some(&one), None] {
            assert_eq!(now.over(ordered), Some(record(Some(1), None)));
        }
        for stage in [Stage::Staged, Stage::Started] {
            assert_eq!(record(None, Some((2, stage))).over(None), None);
        }
    }

    #[test]
    fn only_what_may_be_started_is_kept() {
        let now = record(Some(1), Some((2, Stage::Started)));
        assert!(now.needs(&program(1).sha256) && now.needs(&program(2).sha256) && !now.needs(&program(3).sha256));
        let now = now.fail("why");
        assert!(now.needs(&program(1).sha256) && !now.needs(&program(2).sha256));
    }
}

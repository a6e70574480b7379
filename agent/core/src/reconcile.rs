//! What to do next so that the device does what the plan says: a pure function of both.
//!
//! Called whenever something changed; it remembers nothing. What runs goes on running until what
//! replaces it is ready to start.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    vec::Vec,
};

use serde::{Deserialize, Serialize};

use crate::{
    Code, Refusal,
    policy::{Policy, Setup, admit, widening},
    trust::{Verified, fits_order},
    upgrade::{self, Own},
    wire::{AppName, Asks, Assignment, Digest, Release, ReleaseRef, World, unseal},
};

/// What a device has.
#[derive(Clone, Debug, Default)]
pub struct Actual {
    /// Verified releases, by digest.
    pub releases: BTreeMap<Digest, Verified<Release>>,
    /// Whole modules in the store, by digest.
    pub modules: BTreeSet<Digest>,
    /// Apps that were told to run, with what.
    pub apps: BTreeMap<AppName, Ran>,
    /// Releases that this device will not run as these apps while the plan stays as it is.
    pub refused: BTreeSet<(AppName, Digest)>,
    /// Releases that must not go on running: the root in force revokes them, or sets a floor above them.
    pub banned: BTreeSet<Digest>,
    /// Releases that may not ask for more than their apps were granted before: the grant keys of the
    /// root in force have not signed them.
    pub narrow: BTreeSet<Digest>,
    /// What each app last ran well with, in this life or an earlier one.
    pub last: BTreeMap<AppName, Last>,
    /// What apps were tried with in vain, while the plan stays as it is.
    pub reverted: BTreeMap<AppName, Ran>,
    /// The plan has gone stale: nothing new is fetched.
    pub frozen: bool,
    /// The agent itself, where it can be replaced.
    pub own: Option<Own>,
}

/// What an app was last started with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ran {
    /// The release's digest.
    pub release: Digest,
    /// The setup's digest.
    pub setup: Digest,
}

/// What an app ran well with, or was started with first: kept, so that it can be started again before what replaces it is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Last {
    /// The release.
    pub order: ReleaseRef,
    /// What the release asked for.
    pub asks: Asks,
    /// With what it was started.
    pub setup: Setup,
}

impl Last {
    /// The record that a device wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        unseal(bytes, "record of what an app ran last")
    }

    /// The digests of both.
    pub fn ran(&self) -> Ran {
        Ran { release: self.order.digest, setup: self.setup.digest() }
    }
}

/// A trial: kept from before its start until it is over, so that a power cut ends it, too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// The plan that ordered it. Another one may try again.
    pub plan: Digest,
    /// What is tried.
    pub ran: Ran,
    /// Why it failed; absent while it is not over.
    pub why: Option<String>,
}

impl Trial {
    /// The record that a device wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        unseal(bytes, "record of a trial")
    }

    /// Why what it says is not to be tried again; nothing if it may be: it was for another plan, or is what runs well.
    pub fn verdict(&self, plan: &Digest, last: Option<&Last>) -> Option<&str> {
        let over = self.plan == *plan && last.is_none_or(|last| last.ran() != self.ran);
        over.then(|| self.why.as_deref().unwrap_or("the board lost power, or the agent died, during its trial"))
    }
}

/// One step towards the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "there are a few of them, and they are gone at once")]
pub enum Action {
    /// Get and verify a release.
    FetchRelease {
        /// The app that it is ordered for.
        app: AppName,
        /// The release.
        order: ReleaseRef,
    },
    /// Get the module of a verified release.
    FetchModule {
        /// The app.
        app: AppName,
        /// The release's digest.
        release: Digest,
    },
    /// Run this release with this setup, instead of what the app ran before, if anything.
    Run {
        /// The app.
        app: AppName,
        /// The release's digest.
        release: Digest,
        /// With what.
        setup: Setup,
        /// Whether it has to prove that it is as good as what ran before, which is there to go back to.
        trial: bool,
    },
    /// Put the program of this release in the agent's own place, on trial.
    Upgrade {
        /// The release's digest.
        release: Digest,
    },
    /// Stop an app: the plan has it no more or pauses it, or the root bans what runs.
    Stop {
        /// The app.
        app: AppName,
    },
    /// This device will not run a release.
    Refuse {
        /// The app.
        app: AppName,
        /// The release's digest.
        release: Digest,
        /// Why.
        refusal: Refusal,
    },
}

/// The steps that bring a device nearer to these assignments.
pub fn reconcile(assignments: &[&Assignment], policy: &Policy, actual: &Actual) -> Vec<Action> {
    let wanted = |app: &AppName| assignments.iter().any(|a| a.app == *app && !a.paused);
    let ends = |(app, ran): &(&AppName, &Ran)| !wanted(app) || actual.banned.contains(&ran.release);
    let stops = actual.apps.iter().filter(ends).map(|(app, _)| Action::Stop { app: app.clone() });
    let steps = assignments.iter().filter(|a| !a.paused).flat_map(|a| {
        let step = step(a, policy, actual);
        let runs = matches!(step, Some(Action::Run { .. }));
        step.into_iter().chain(meanwhile(a, actual).filter(|_| !runs))
    });
    stops.chain(steps).collect()
}

/// What to run of an app as long as what the plan orders is not there: what it ran last.
fn meanwhile(assignment: &Assignment, actual: &Actual) -> Option<Action> {
    let app = &assignment.app;
    if actual.apps.contains_key(app) {
        return None;
    }
    let last = actual.last.get(app).filter(|last| can_run(app, last, actual))?;
    Some(Action::Run { app: app.clone(), release: last.order.digest, setup: last.setup.clone(), trial: false })
}

/// Whether what an app ran well with is there, and allowed still.
fn can_run(app: &AppName, last: &Last, actual: &Actual) -> bool {
    let release = last.order.digest;
    let held = actual.releases.get(&release).filter(|held| fits_order(held, app, &last.order).is_ok());
    held.is_some_and(|held| actual.modules.contains(&held.module.sha256))
        && !actual.banned.contains(&release)
        && !actual.refused.contains(&(app.clone(), release))
}

fn step(assignment: &Assignment, policy: &Policy, actual: &Actual) -> Option<Action> {
    let Assignment { app, release: order, .. } = assignment;
    let app = app.clone();
    let digest = order.digest;
    if actual.refused.contains(&(app.clone(), digest)) {
        return None;
    }
    let Some(release) = actual.releases.get(&digest) else {
        return (!actual.frozen).then_some(Action::FetchRelease { app, order: *order });
    };
    let checked = fits_order(release, &app, order).and_then(|()| check_granted(release, &digest, actual));
    let checked = checked.and_then(|()| match release.world {
        World::Agent => upgrade::admit(policy, actual.own.as_ref(), release, actual.narrow.contains(&digest)),
        World::Preview1 | World::Command | World::Http(_) => Ok(()),
    });
    let setup = match checked.and_then(|()| admit(policy, release, assignment)) {
        Ok(setup) => setup,
        Err(refusal) => return Some(Action::Refuse { app, release: digest, refusal }),
    };
    let agent = release.world == World::Agent;
    if agent && !is_news(release, &digest, actual.own.as_ref()) {
        return None;
    }
    if !actual.modules.contains(&release.module.sha256) {
        return (!actual.frozen).then_some(Action::FetchModule { app, release: digest });
    }
    if agent {
        return Some(Action::Upgrade { release: digest });
    }
    let ran = Ran { release: digest, setup: setup.digest() };
    if actual.apps.get(&app) == Some(&ran) || actual.reverted.get(&app) == Some(&ran) {
        return None;
    }
    let good = actual.last.get(&app).filter(|last| can_run(&app, last, actual));
    let trial = good.is_some_and(|last| last.ran() != ran);
    Some(Action::Run { app, release: digest, setup, trial })
}

/// Whether this release is another agent than the one that runs, and may be tried now.
fn is_news(release: &Release, digest: &Digest, own: Option<&Own>) -> bool {
    own.is_some_and(|own| {
        let given_up = own.record.as_ref().is_some_and(|record| record.failure(digest).is_some());
        !own.busy && !given_up && own.runs.is_some_and(|runs| runs != release.module.sha256)
    })
}

/// Holds if a release asks for no more than its app was granted before, or may.
fn check_granted(release: &Release, digest: &Digest, actual: &Actual) -> Result<(), Refusal> {
    if !actual.narrow.contains(digest) {
        return Ok(());
    }
    let Release { app, version, asks, .. } = release;
    let Some(more) = widening(actual.last.get(app).map(|last| &last.asks), asks) else { return Ok(()) };
    let sentence = format!("{app} {version} asks for more than before ({more}), and the grant keys have not signed it");
    Err(Refusal::new(Code::Widening, sentence))
}

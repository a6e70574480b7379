//! The root: who may say what in a fleet.

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use super::{AppName, Digest, Document, FleetName, Kind, PublicKey, Timestamp, check_count};
use crate::{Refusal, limits, refusal::ensure};

/// The keys of a fleet and what each may sign.
///
/// A board is given its first root by hand; each later one is signed by thresholds of its
/// predecessor's root keys and of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// The fleet that this is about.
    pub fleet: FleetName,
    /// 1 for the first, then one more each time.
    pub version: u64,
    /// After this, no new plan is accepted until a newer root comes.
    pub expires: Timestamp,
    /// Who signs roots.
    pub root: Role,
    /// Who orders releases onto devices.
    pub deploy: Role,
    /// Who makes releases, and of which apps.
    pub release: Vec<ReleaseRole>,
    /// Who must agree to a release that asks for more than the one before it; nobody, if absent.
    pub grant: Option<Role>,
    /// Digests of releases and modules that must not run any more.
    pub revoked: Vec<Digest>,
    /// The lowest counter that each app may run at.
    pub floors: Vec<Floor>,
}

/// Some keys, and how many of them must sign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// The keys.
    pub keys: Vec<PublicKey>,
    /// How many different ones of them must sign: at least 1.
    pub threshold: u8,
}

/// A release role for some apps, or for all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseRole {
    /// The apps; any app, if empty, but no agent: who may replace that is always named.
    pub apps: Vec<AppName>,
    /// Who signs their releases.
    pub role: Role,
}

/// An app's security floor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Floor {
    /// The app.
    pub app: AppName,
    /// Releases with a lower counter must not run.
    pub counter: u64,
}

impl Document for Root {
    const KIND: Kind = Kind::Root;

    fn check(&self) -> Result<(), Refusal> {
        ensure!(self.version >= 1, Malformed, "version 0, but the first is 1");
        self.root.check("root")?;
        self.deploy.check("deploy")?;
        check_count(self.release.len(), limits::RELEASE_ROLES_MAX, "release roles")?;
        ensure!(!self.release.is_empty(), Malformed, "no release role");
        for release in &self.release {
            release.role.check("release")?;
            check_count(release.apps.len(), limits::LIST_MAX, "apps in a release role")?;
        }
        if let Some(grant) = &self.grant {
            grant.check("grant")?;
        }
        check_count(self.revoked.len(), limits::ROOT_LIST_MAX, "revoked digests")?;
        check_count(self.floors.len(), limits::ROOT_LIST_MAX, "security floors")
    }
}

impl Role {
    fn check(&self, name: &str) -> Result<(), Refusal> {
        check_count(self.keys.len(), limits::ROLE_KEYS_MAX, "keys in a role")?;
        let repeated = self.keys.iter().enumerate().any(|(i, key)| self.keys[..i].contains(key));
        ensure!(!repeated, Malformed, "the {name} role lists a key twice");
        let possible = 1..=self.keys.len();
        let threshold = self.threshold;
        ensure!(
            possible.contains(&usize::from(threshold)),
            Malformed,
            "the {name} role asks for {threshold} signatures of {} keys",
            self.keys.len()
        );
        Ok(())
    }
}

impl Root {
    /// The roles that may sign releases of this app.
    pub fn release_roles(&self, app: &AppName) -> impl Iterator<Item = &Role> {
        let any = app.agent_target().is_none();
        self.release.iter().filter(move |r| any && r.apps.is_empty() || r.apps.contains(app)).map(|r| &r.role)
    }

    /// The lowest counter that this app may run at.
    pub fn floor(&self, app: &AppName) -> u64 {
        self.floors.iter().filter(|floor| floor.app == *app).map(|floor| floor.counter).max().unwrap_or(0)
    }
}

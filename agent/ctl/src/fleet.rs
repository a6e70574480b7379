//! The fleet folder: who the fleet is, where its broker is, and the files that belong to it.

use std::{
    env,
    fs::{File, TryLockError},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use dunlin::{
    config::units::Span,
    link::{Broker, BrokerUrl, Credentials, Tls},
};
use dunlin_core::wire::{FleetName, Topics, topic};
use serde::Deserialize;
use toml::Spanned;

use crate::{files, keys::Role, roots::Roots, say, toml_file::Source};

/// The file that makes a folder a fleet's.
pub(crate) const FLEET_FILE: &str = "fleet.toml";

/// Where a fleet's root is, in its folder.
pub(crate) const ROOT_FILE: &str = "root.dunlin";

/// How often to be heard at a broker.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// A fleet, as its folder describes it.
#[derive(Debug)]
pub(crate) struct Fleet {
    /// The folder.
    pub(crate) dir: PathBuf,
    /// Its name.
    pub(crate) name: FleetName,
    /// Its broker.
    pub(crate) broker: Broker,
    /// What its topics begin with, if not as usual,
    pub(crate) prefix: Option<String>,
    /// and where they are.
    pub(crate) topics: Topics,
    /// Its roots; the newest is in force.
    pub(crate) roots: Roots,
}

/// `fleet.toml` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: Spanned<FleetName>,
    broker: Spanned<RawBroker>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBroker {
    url: BrokerUrl,
    ca: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    user: Option<String>,
    password_file: Option<PathBuf>,
    prefix: Option<String>,
    keep_alive: Option<Spanned<Span>>,
}

impl Fleet {
    /// The fleet in this folder; without one, that of `DUNLIN_FLEET` (which the command line has
    /// looked at already) or of the current folder or the nearest one above it.
    pub(crate) fn find(given: Option<&Path>) -> Result<Self> {
        if let Some(dir) = given {
            return Self::load(dir);
        }
        let here = env::current_dir().context("there is no current folder")?;
        match here.ancestors().find(|dir| dir.join(FLEET_FILE).is_file()) {
            Some(dir) => Self::load(dir),
            None => bail!(
                "no {FLEET_FILE} in {} or above it: go to the fleet's folder, name it with --fleet DIR or \
                 DUNLIN_FLEET, or make one with `dunlinctl init`",
                here.display()
            ),
        }
    }

    /// The fleet in this folder.
    pub(crate) fn load(dir: &Path) -> Result<Self> {
        let path = dir.join(FLEET_FILE);
        let text = files::read_text(&path)?;
        let source = Source { path: &path, text: &text };
        let raw: Raw = source.parse()?;
        let roots = Roots::load(dir)?;
        let (name, of) = (raw.name.get_ref(), &roots.chain().current().fleet);
        if name != of {
            let what = format_args!("the fleet {name}, but {ROOT_FILE} is the root of {of}");
            return Err(source.at(raw.name.span(), what));
        }
        let prefix = raw.broker.get_ref().prefix.clone();
        let topics = Topics::new(prefix.as_deref().unwrap_or(topic::PREFIX), name);
        let broker = raw.broker.get_ref().resolve(dir, &source, raw.broker.span())?;
        Ok(Self { dir: dir.to_path_buf(), name: name.clone(), broker, prefix, topics, roots })
    }

    /// Keeps every other `dunlinctl` from releasing and deploying with this folder while it lives:
    /// counters and sequences are given once.
    pub(crate) fn lock(&self) -> Result<File> {
        if let Some(lock) = self.try_lock()? {
            return Ok(lock);
        }
        say::note(format_args!("waiting for another dunlinctl that works with {}", self.dir.display()));
        let file = self.lock_file()?;
        file.lock().with_context(|| format!("cannot lock {}", self.dir.display()))?;
        Ok(file)
    }

    /// The same, without waiting: nothing if another has it.
    pub(crate) fn try_lock(&self) -> Result<Option<File>> {
        let file = self.lock_file()?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock {}", self.dir.display()))
            }
        }
    }

    fn lock_file(&self) -> Result<File> {
        let path = self.dir.join(".lock");
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        file.with_context(|| format!("cannot open {}", path.display()))
    }

    /// The plan that was signed or seen last.
    pub(crate) fn plan_file(&self) -> PathBuf {
        self.dir.join("plan.dunlin")
    }

    /// A plan that was signed or seen some time.
    pub(crate) fn old_plan_file(&self, sequence: u64) -> PathBuf {
        self.dir.join("plans").join(format!("{sequence}.dunlin"))
    }
}

/// Where the key of a role is.
pub(crate) fn key_file(dir: &Path, role: Role) -> PathBuf {
    dir.join("keys").join(format!("{}.key", role.as_str()))
}

impl RawBroker {
    /// Paths are relative to the fleet's folder, and certificates and password must be there.
    fn resolve(&self, dir: &Path, source: &Source<'_>, span: std::ops::Range<usize>) -> Result<Broker> {
        let at = |what: &str| source.at(span.clone(), what);
        let client = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => Some((dir.join(certificate), dir.join(key))),
            (None, None) => None,
            _ => return Err(at("[broker]: certificate and key go together: give both or none")),
        };
        let credentials = match (&self.user, &self.password_file) {
            (Some(user), Some(file)) => {
                let password = files::read_text(&dir.join(file)).map_err(|e| at(&format!("password_file: {e:#}")))?;
                let password = password.trim_end_matches(['\r', '\n']).to_owned();
                Some(Credentials { user: user.clone(), password })
            }
            (None, None) => None,
            _ => return Err(at("[broker]: user and password_file go together: give both or none")),
        };
        let keep_alive = match &self.keep_alive {
            None => KEEP_ALIVE,
            // As on the boards: below, every slow moment ends a session; above, MQTT has no number.
            Some(given) if (5..=64_800).contains(&given.get_ref().0.as_secs()) => given.get_ref().0,
            Some(given) => return Err(source.at(given.span(), "keep_alive is from 5s to 18h")),
        };
        let tls = Tls { ca: self.ca.as_ref().map(|ca| dir.join(ca)), client };
        if self.url.is_tls() {
            // A file that is missing is said now, not after waiting for a broker.
            tls.client_config().map_err(|e| at(&format!("[broker]: {e}")))?;
        }
        Ok(Broker { url: self.url.clone(), tls, credentials, keep_alive })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init;

    fn fleet_with(toml: &str) -> (tempfile::TempDir, Result<Fleet>) {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("flock");
        let name: FleetName = "flock".parse().unwrap();
        init::create(&dir, &name, "url = \"mqtt://b\"\n", Duration::from_secs(86_400)).unwrap();
        std::fs::write(dir.join(FLEET_FILE), toml).unwrap();
        let fleet = Fleet::load(&dir);
        (parent, fleet)
    }

    #[test]
    fn a_fleet_file_is_resolved_and_its_mistakes_have_a_place() {
        let (_dir, fleet) = fleet_with("name = \"flock\"\n[broker]\nurl = \"mqtt://b:1\"\nprefix = \"x/y\"\n");
        let fleet = fleet.unwrap();
        assert_eq!((fleet.broker.url.port, fleet.broker.keep_alive), (1, KEEP_ALIVE));
        assert_eq!(fleet.topics, Topics::new("x/y", &fleet.name));
        for (toml, why) in [
            ("name = \"flock\"\n[broker]\nurl = \"b\"", ":3:7: \"b\" does not begin with mqtt://"),
            (
                "name = \"flock\"\n[broker]\nurl = \"mqtt://b\"\npasword_file = \"x\"",
                ":4:1: unknown field `pasword_file`",
            ),
            (
                "name = \"other\"\n[broker]\nurl = \"mqtt://b\"",
                ":1:8: the fleet other, but root.dunlin is the root of flock",
            ),
            ("name = \"flock\"\n[broker]\nurl = \"mqtt://b\"\nuser = \"u\"", "user and password_file go together"),
            ("name = \"flock\"\n[broker]\nurl = \"mqtt://b\"\nkey = \"k\"", "certificate and key go together"),
            ("name = \"flock\"\n[broker]\nurl = \"mqtt://b\"\nkeep_alive = \"0s\"", ":4:14: keep_alive is from"),
            ("name = \"flock\"\n[broker]\nurl = \"mqtts://b\"\nca = \"ca.pem\"", "ca.pem"),
            ("name = \"flock\"\n[broker]\nurl = \"mqtt://b\"\nuser = \"u\"\npassword_file = \"p\"", "flock/p"),
        ] {
            let error = format!("{:#}", fleet_with(toml).1.unwrap_err());
            assert!(error.contains("fleet.toml:") && error.contains(why), "{error}");
        }
    }

    #[test]
    fn a_key_that_the_root_does_not_know_is_not_used() {
        let (_dir, fleet) = fleet_with("name = \"flock\"\n[broker]\nurl = \"mqtt://b\"\n");
        let fleet = fleet.unwrap();
        assert!(fleet.deploy_keys().is_ok() && fleet.release_keys(&"a".parse().unwrap()).is_ok());
        assert!(fleet.grant_keys().unwrap().is_empty());
        std::fs::copy(key_file(&fleet.dir, Role::Root), key_file(&fleet.dir, Role::Deploy)).unwrap();
        let error = fleet.deploy_keys().unwrap_err().to_string();
        assert!(error.contains("deploy.key: root 1 of flock does not know this deploy key"), "{error}");
    }
}

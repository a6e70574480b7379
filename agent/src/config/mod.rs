//! The configuration: read once, at the door, and passed on whole.
//!
//! [`raw`] is the file as people write it; [`Config`] is what it means. An error names the file,
//! the line and the key.

mod doors;
mod raw;
pub mod units;

use std::{
    collections::BTreeMap,
    env, fmt, fs,
    net::IpAddr,
    path::{self, Path, PathBuf},
};

use dunlin_core::{
    policy::Policy,
    trust::{Verified, first_root},
    wire::{DeviceId, MountName, Root, plan::Labels},
};
use dunlin_host::Reach;

use crate::{
    Failure,
    door::{self, Certificate},
    link::{self, Broker, Tls},
};

/// Where the agent looks for its configuration.
pub const PATH: &str = "/etc/dunlin/agent.toml";

/// The folder beside it for keys and passwords. It may be root's alone: what the service manager was
/// told to hand over of it (`LoadCredential=secrets:/etc/dunlin/secrets`) is read from there.
pub const SECRETS: &str = "secrets";

/// Everything that an agent is told by its board's owner.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who this board is.
    pub device: DeviceId,
    /// By what plans select it, besides its id.
    pub labels: Labels,
    /// Where it keeps its state.
    pub state_dir: PathBuf,
    /// The fleet's root of trust, as a file.
    pub root: PathBuf,
    /// Its broker.
    pub broker: Broker,
    /// Certificates of servers that modules are downloaded from.
    pub http: Tls,
    /// What all topics begin with.
    pub prefix: String,
    /// What apps may have.
    pub policy: Policy,
    /// Whom apps may connect to: whom their releases name, if absent.
    pub connect: Option<Vec<Reach>>,
    /// The directories that apps may use.
    pub directories: BTreeMap<MountName, PathBuf>,
    /// The address on which apps' ports are published.
    pub bind: IpAddr,
    /// Where it says of itself what it does; nowhere, if absent.
    pub door: Option<door::Settings>,
    /// Where apps are reached by name; nowhere, if absent.
    pub front: Option<door::FrontSettings>,
    /// What topics begin with under which Home Assistant is told of apps; it is not told if absent.
    pub home_assistant: Option<String>,
}

/// Where a board keeps its state and its root of trust.
#[derive(Clone, Debug)]
pub struct Places {
    /// The state folder.
    pub state_dir: PathBuf,
    /// The fleet's root of trust, as a file.
    pub root: PathBuf,
}

/// What is wrong with a configuration file.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// The file.
    pub path: PathBuf,
    /// Line and column, from 1, if the file could be read.
    pub at: Option<(usize, usize)>,
    /// What is wrong there.
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.path.display())?;
        if let Some((line, column)) = self.at {
            write!(f, "{line}:{column}:")?;
        }
        write!(f, " {}", self.message)
    }
}

impl ConfigError {
    /// A toml error, with the place in the text that it points to.
    pub fn in_toml(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        let place = |start: usize| {
            let before = &text[..start.min(text.len())];
            let line_start = before.rfind('\n').map_or(0, |at| at + 1);
            (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
        };
        let at = error.span().map(|span| place(span.start));
        Self { path: path.into(), at, message: error.message().replace('\n', " ") }
    }
}

impl Config {
    /// Reads a configuration file. Paths in it are relative to its folder.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let unreadable =
            |error| ConfigError { path: path.into(), at: None, message: format!("cannot read it: {error}") };
        let text = fs::read_to_string(path).map_err(unreadable)?;
        let raw: raw::Raw = toml::from_str(&text).map_err(|error| ConfigError::in_toml(path, &text, &error))?;
        let credentials = env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        let runtime = env::var_os("RUNTIME_DIRECTORY").map(PathBuf::from);
        let place = raw::Place {
            folder: path.parent().unwrap_or(Path::new("")),
            credentials: credentials.as_deref(),
            runtime: runtime.as_deref(),
        };
        raw.resolve(&place).map_err(|message| ConfigError { path: path.into(), at: None, message })
    }

    /// Of a configuration file that may be another version's, where the state and the root are: as much as is
    /// needed to find out which version is to be started.
    pub(crate) fn places(path: &Path) -> Option<Places> {
        let raw: raw::RawPlaces = toml::from_str(&fs::read_to_string(path).ok()?).ok()?;
        let absolute = |named| path::absolute(path.parent().unwrap_or(Path::new("")).join(named)).ok();
        Some(Places { state_dir: absolute(raw.state)?, root: absolute(raw.root)? })
    }

    /// What would go wrong later: files that are named but not there or not usable, one sentence each.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        problems.extend(self.read_root().err().map(|failure| format!("`root`: {failure}")));
        if self.broker.url.is_tls() {
            problems.extend(self.broker.tls.client_config().err().map(|error| format!("[broker]: {error}")));
        }
        if self.http.ca.is_some() {
            problems.extend(self.http.client_config().err().map(|error| format!("[http]: {error}")));
        }
        for (name, path) in &self.directories {
            if let Err(source) = fs::read_dir(path) {
                problems.push(format!("[directories.{name}]: cannot open {}: {source}", path.display()));
            }
        }
        problems
    }

    /// What keeps doors shut. Apps run all the same, and a door opens when its certificate is good.
    pub fn door_problems(&self) -> Vec<String> {
        let door = self.door.as_ref().and_then(|door| door.certificate.as_ref()).map(|files| ("door", files));
        let front = self.front.as_ref().and_then(|front| front.certificate.as_ref()).map(|files| ("front", files));
        let problem = |(section, files): (&str, &Certificate)| {
            let error = link::server_config(&files.chain, &files.key).err()?;
            Some(format!("[{section}]: {error}"))
        };
        door.into_iter().chain(front).filter_map(problem).collect()
    }

    /// What is wrong with the state folder. A board that ran before goes on with what it has.
    pub fn state_problem(&self) -> Option<String> {
        let dir = self.state_dir.display();
        let created = fs::create_dir_all(&self.state_dir).map_err(|source| format!("cannot create {dir}: {source}"));
        let write =
            |()| tempfile::tempfile_in(&self.state_dir).map_err(|source| format!("cannot write into {dir}: {source}"));
        created.and_then(write).err().map(|problem| format!("`state`: {problem}"))
    }

    /// The root of trust that this board was given.
    pub fn read_root(&self) -> Result<Verified<Root>, Failure> {
        let path = &self.root;
        let bytes = fs::read(path).map_err(Failure::disk("read", path))?;
        first_root(&bytes).map_err(|refusal| Failure::Given { path: path.clone(), refusal })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
device = "pi-1"
root = "root.dunlin"
state = "state"

[labels]
site = "kitchen"

[broker]
url = "mqtt://127.0.0.1"
user = "pi-1"
password = "secret"
"#;

    fn load(text: &str) -> Result<Config, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.toml");
        fs::write(&path, text).unwrap();
        Config::load(&path).map_err(|mut error| {
            error.path = "agent.toml".into();
            error
        })
    }

    #[test]
    fn a_small_file_is_enough_and_paths_are_relative_to_it() {
        let config = load(GOOD).unwrap();
        assert_eq!(config.device.as_str(), "pi-1");
        assert_eq!(config.broker.url.port, 1883);
        assert_eq!(config.broker.credentials.as_ref().map(|c| c.password.as_str()), Some("secret"));
        assert!(config.state_dir.is_absolute() && config.state_dir.ends_with("state"));
        assert!(!format!("{config:?}").contains("secret"), "a password is never shown");
    }

    #[test]
    fn secrets_are_taken_from_where_the_service_manager_handed_them_over() {
        let [here, handed] = [(), ()].map(|()| tempfile::tempdir().unwrap());
        fs::write(handed.path().join("secrets_password"), "handed\n").unwrap();
        let text = GOOD.replace("password = \"secret\"", "password_file = \"secrets/password\"");
        let raw = || toml::from_str::<raw::Raw>(&text).unwrap();
        let place = raw::Place { folder: here.path(), credentials: Some(handed.path()), runtime: None };
        let resolved = raw().resolve(&place).unwrap();
        assert_eq!(resolved.broker.credentials.unwrap().password, "handed");
        let place = raw::Place { credentials: None, ..place };
        let error = raw().resolve(&place).unwrap_err();
        assert!(error.contains(here.path().join("secrets/password").to_str().unwrap()), "{error}");
    }

    #[test]
    fn mistakes_are_named_with_file_and_line() {
        for (from, to, complaint) in [
            ("url =", "ulr =", "agent.toml:10:1: unknown field `ulr`, expected one of `url`"),
            ("[labels]", "[lables]", "agent.toml:6:2: unknown field `lables`"),
            ("mqtt://", "http://", "agent.toml:10:7: \"http://127.0.0.1\" does not begin with mqtt://"),
            ("\"pi-1\"\nroot", "\"pi/1\"\nroot", "agent.toml:2:10: \"pi/1\" is not a device's id"),
            ("kitchen", "kit chen", "agent.toml:7:8: \"kit chen\" is not a label's value"),
            ("root = \"root.dunlin\"\n", "", "missing field `root`"),
            ("device = ", "device ", "agent.toml:2:8: "),
            ("[broker]", "[policy]\nconnect = [\"db\"]\n[broker]", "agent.toml:10:11: \"db\" is not HOST:PORT"),
            ("[broker]", "[directories.a]\nwrite = true\n[broker]", "agent.toml:9:1: missing field `path`"),
            ("[broker]", "[policy]\nmemory = \"64\"\n[broker]", "agent.toml:10:10: \"64\" is not a size"),
            ("password =", "password_file =", "agent.toml: `password_file`: cannot read"),
            ("user = \"pi-1\"\n", "", "agent.toml: [broker] has a password, but no `user`"),
            ("[broker]", "[door]\nlisten = \"8080\"\n[broker]", "agent.toml:10:10: \"8080\" is no place to listen"),
            (
                "[broker]",
                "[door]\nlisten = \"0.0.0.0:8080\"\n[broker]",
                "agent.toml: [door] is open to the network at 0.0.0.0:8080, and asks for nothing: set `token_file`",
            ),
            (
                "[broker]",
                "[door]\nlisten = \"127.0.0.1:1\"\nmode = \"0999\"\n[broker]",
                "agent.toml: [door] `mode` is three or four octal digits, as in \"0660\"",
            ),
            ("[broker]", "[front]\nlisten = []\n[broker]", "agent.toml: [front] `listen` names no place"),
            (
                "url = \"mqtt:",
                "certificate = \"c.pem\"\nurl = \"mqtt:",
                "agent.toml: [broker] needs both `certificate` and `key`",
            ),
            ("url = \"mqtt:", "keep_alive = \"1s\"\nurl = \"mqtt:", "agent.toml: `keep_alive` must be from 5s to 18h"),
        ] {
            assert!(GOOD.contains(from), "{from}");
            let error = load(&GOOD.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(error.contains(complaint), "{to}: {error}");
        }
    }

    #[test]
    fn what_would_go_wrong_later_is_found_before() {
        let mut config = load(GOOD).unwrap();
        config.state_dir = "/proc/nowhere".into();
        config.broker.url = "mqtts://b".parse().unwrap();
        config.broker.tls.ca = Some("/nowhere/ca.pem".into());
        let problems: Vec<_> = config.problems().into_iter().chain(config.state_problem()).collect();
        assert_eq!(problems.len(), 3, "{problems:?}");
        for (problem, names) in problems.iter().zip(["root.dunlin", "/nowhere/ca.pem", "/proc/nowhere"]) {
            assert!(problem.contains(names), "{problem}");
        }
    }
}

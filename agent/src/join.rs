//! `dunlin join`: makes a board's configuration of the one file that its operator made for it.
//!
//! ```text
//! FILE ─▶ root.dunlin  ca.pem  secrets/{password, device.pem, device.key} ─▶ agent.toml, which comes last
//! ```
//!
//! It never silently replaces an identity: what is there and differs stays, unless somebody says
//! `--replace`, and then it is kept beside the new.

use std::{
    ffi::OsString,
    fmt,
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use clap::Args;
use dunlin_core::wire::{DeviceId, FleetName};
use toml::{Table, Value};

use crate::{
    Failure,
    config::{self, Config, ConfigError, SECRETS},
    enrolment::Enrolment,
    store::Disk,
};

/// Make this board's configuration of the file that `dunlinctl enroll` made for it
#[derive(Args, Debug)]
pub struct JoinArgs {
    /// The file
    file: PathBuf,
    /// The configuration file to make; what it names goes beside it
    #[arg(short, long, value_name = "FILE", default_value = config::PATH)]
    config: PathBuf,
    /// Take the place of another identity; its files are kept, with .old at the end of their names
    #[arg(long)]
    replace: bool,
}

/// What became of it.
#[derive(Debug, PartialEq, Eq)]
pub enum Joined {
    /// The board is this device of this fleet now.
    Newly(DeviceId, FleetName),
    /// It was already, with every file as it would be made: nothing was touched.
    Already(DeviceId, FleetName),
}

impl fmt::Display for Joined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newly(device, fleet) => write!(f, "this board is {device} of the fleet {fleet}"),
            Self::Already(device, fleet) => {
                write!(f, "this board is {device} of the fleet {fleet} already: nothing was changed")
            }
        }
    }
}

/// Why a board did not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The file is not an enrolment.
    #[error(transparent)]
    File(#[from] ConfigError),
    /// The board has joined, as somebody else or with other settings.
    #[error("{path} is there already{whose} and differs: nothing was changed; to replace it, say --replace")]
    Taken {
        /// A file that differs.
        path: String,
        /// Whose it is, as far as it says so.
        whose: String,
    },
    /// The disk.
    #[error(transparent)]
    Failure(#[from] Failure),
    /// The configuration cannot be written as TOML.
    #[error("the configuration: {0}")]
    Toml(#[from] toml::ser::Error),
}

/// Makes the files; all of them are there when agent.toml is.
pub fn join(args: &JoinArgs) -> Result<Joined, JoinError> {
    let text = fs::read_to_string(&args.file).map_err(Failure::disk("read", &args.file))?;
    let enrolment = Enrolment::parse(&args.file, &text)?;
    let (device, fleet) = (enrolment.device.clone(), enrolment.root.fleet.clone());
    let folder = args.config.parent().unwrap_or(Path::new(""));
    let beside = beside(&enrolment).into_iter().map(|(name, bytes)| (folder.join(name), bytes));
    let config = (args.config.clone(), agent_toml(&enrolment)?.into_bytes());
    let files: Vec<_> = beside.chain([config]).collect();

    let missing = files.iter().any(|(path, _)| !path.exists());
    let differing = differing(&files)?;
    if differing.is_empty() && !missing {
        return Ok(Joined::Already(device, fleet));
    }
    if let Some(path) = differing.first().filter(|_| !args.replace) {
        return Err(JoinError::Taken { path: path.display().to_string(), whose: whose(&args.config) });
    }
    let secrets = folder.join(SECRETS);
    fs::create_dir_all(&secrets).map_err(Failure::disk("create", &secrets))?;
    set_mode(&secrets, 0o700)?;
    // agent.toml goes first and comes last: between them there is no identity, rather than half of one.
    for path in differing.iter().rev() {
        fs::rename(path, with_old(path)).map_err(Failure::disk("rename", path))?;
    }
    for (path, bytes) in &files {
        Disk::default().write_atomically(path, bytes)?;
        // The agent's account reads what is no secret; secrets are root's, and systemd hands them over.
        set_mode(path, if path.starts_with(&secrets) { 0o600 } else { 0o644 })?;
    }
    Ok(Joined::Newly(device, fleet))
}

/// Those of the files that are there with other content.
fn differing(files: &[(PathBuf, Vec<u8>)]) -> Result<Vec<&Path>, Failure> {
    let mut differing = Vec::new();
    for (path, bytes) in files {
        match fs::read(path) {
            Ok(there) if there == *bytes => {}
            Ok(_) => differing.push(path.as_path()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Failure::disk("read", path)(error)),
        }
    }
    Ok(differing)
}

fn whose(config: &Path) -> String {
    let Ok(config) = Config::load(config) else { return String::new() };
    let fleet = config.read_root().map(|root| format!(" of the fleet {}", root.fleet));
    format!(" (this board is {}{})", config.device, fleet.unwrap_or_default())
}

fn with_old(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".old");
    name.into()
}

fn set_mode(path: &Path, mode: u32) -> Result<(), Failure> {
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(Failure::disk("set the mode of", path))
}

/// What agent.toml names.
fn beside(enrolment: &Enrolment) -> Vec<(&'static str, Vec<u8>)> {
    let broker = &enrolment.broker;
    let given = [
        ("ca.pem", &broker.ca),
        ("secrets/password", &broker.password),
        ("secrets/device.pem", &broker.certificate),
        ("secrets/device.key", &broker.key),
    ];
    let given = given.into_iter().filter_map(|(name, text)| Some((name, text.as_ref()?.as_bytes().to_vec())));
    [("root.dunlin", enrolment.root.to_bytes())].into_iter().chain(given).collect()
}

fn agent_toml(enrolment: &Enrolment) -> Result<String, toml::ser::Error> {
    let mut broker = Table::new();
    let text = |text: &str| Value::String(text.into());
    broker.insert("url".into(), text(&enrolment.broker.url.to_string()));
    let given = &enrolment.broker;
    let settings = [
        ("prefix", given.prefix.as_deref()),
        ("ca", given.ca.as_ref().map(|_| "ca.pem")),
        ("certificate", given.certificate.as_ref().map(|_| "secrets/device.pem")),
        ("key", given.key.as_ref().map(|_| "secrets/device.key")),
        ("user", given.user.as_deref()),
        ("password_file", given.password.as_ref().map(|_| "secrets/password")),
    ];
    for (key, value) in settings {
        broker.extend(value.map(|value| (key.into(), text(value))));
    }
    let mut all = Table::new();
    all.insert("device".into(), text(enrolment.device.as_str()));
    all.insert("root".into(), text("root.dunlin"));
    if !enrolment.labels.is_empty() {
        all.insert("labels".into(), Value::try_from(&enrolment.labels)?);
    }
    all.insert("broker".into(), Value::Table(broker));
    let settings = toml::to_string_pretty(&all)?;
    Ok(format!(
        "# Made by dunlin join. What else may stand here: /usr/share/doc/dunlin/examples/agent.toml\n{settings}"
    ))
}

//! The configuration file, key by key.

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, Ipv4Addr},
    path::{self, Path, PathBuf},
    time::Duration,
};

use dunlin_core::{
    policy::Policy,
    wire::{DeviceId, MountName, plan::Labels, topic},
};
use dunlin_host::Reach;
use serde::Deserialize;

use super::{
    Config, SECRETS,
    doors::{self, RawDoor, RawFront},
    units::{ByteSize, Span},
};
use crate::link::{Broker, BrokerUrl, Credentials, Tls};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    /// `device = "pi-kitchen-1"`
    device: DeviceId,
    /// `state = "/var/lib/dunlin"`
    #[serde(default = "default_state")]
    state: PathBuf,
    /// `root = "/etc/dunlin/root.dunlin"`
    root: PathBuf,
    /// `bind = "0.0.0.0"`
    #[serde(default = "default_bind")]
    bind: IpAddr,
    /// `site = "kitchen"`
    #[serde(default)]
    labels: Labels,
    broker: RawBroker,
    #[serde(default)]
    http: RawHttp,
    #[serde(default)]
    policy: RawPolicy,
    #[serde(default)]
    directories: BTreeMap<MountName, RawDirectory>,
    door: Option<RawDoor>,
    front: Option<RawFront>,
    #[serde(rename = "home-assistant")]
    home_assistant: Option<RawHomeAssistant>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHomeAssistant {
    /// `prefix = "homeassistant"`
    #[serde(default = "default_home_assistant")]
    prefix: String,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawHttp {
    /// `ca = "ca.pem"`
    ca: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBroker {
    /// `url = "mqtts://broker.example:8883"`
    url: BrokerUrl,
    /// `prefix = "dunlin/v1"`
    prefix: Option<String>,
    /// `ca = "ca.pem"`
    ca: Option<PathBuf>,
    /// `certificate = "device.pem"`
    certificate: Option<PathBuf>,
    /// `key = "device.key"`
    key: Option<PathBuf>,
    /// `user = "pi-kitchen-1"`
    user: Option<String>,
    /// `password = "…"`
    password: Option<String>,
    /// `password_file = "password"`
    password_file: Option<PathBuf>,
    /// `keep_alive = "30s"`
    keep_alive: Option<Span>,
}

/// As much of it as every version understands.
#[derive(Deserialize)]
pub(super) struct RawPlaces {
    #[serde(default = "default_state")]
    pub(super) state: PathBuf,
    pub(super) root: PathBuf,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawPolicy {
    /// `memory = "64MiB"`
    memory: Option<ByteSize>,
    /// `port_min = 1024`
    port_min: Option<u16>,
    /// `data = "64MiB"`
    data: Option<ByteSize>,
    /// `connect = ["10.0.0.0/8:*"]`
    connect: Option<Vec<RawReach>>,
    /// `agent = false`
    agent: Option<bool>,
    /// `follow = false`
    follow: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDirectory {
    /// `path = "/srv/media"`
    path: PathBuf,
    /// `write = true`
    #[serde(default)]
    write: bool,
}

struct RawReach(Reach);

impl<'de> Deserialize<'de> for RawReach {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// rumqttc takes no less, and MQTT counts seconds in 16 bits.
const KEEP_ALIVE_RANGE: std::ops::RangeInclusive<Duration> = Duration::from_secs(5)..=Duration::from_secs(18 * 3600);

fn default_state() -> PathBuf {
    "/var/lib/dunlin".into()
}

/// Home Assistant's own default.
fn default_home_assistant() -> String {
    "homeassistant".into()
}

fn default_bind() -> IpAddr {
    Ipv4Addr::UNSPECIFIED.into()
}

/// What paths in the file are relative to.
pub(super) struct Place<'a> {
    pub(super) folder: &'a Path,
    /// Where the service manager put what it was told to hand over (systemd.exec(5)).
    pub(super) credentials: Option<&'a Path>,
    /// The folder that the service manager made for sockets (systemd.exec(5), `RuntimeDirectory=`).
    pub(super) runtime: Option<&'a Path>,
}

impl Place<'_> {
    /// Absolute, so that nothing depends on the folder that the agent happens to run in.
    pub(super) fn absolute(&self, path: PathBuf) -> Result<PathBuf, String> {
        path::absolute(self.folder.join(path)).map_err(|error| error.to_string())
    }

    /// A file that only root may be able to read where it stands.
    pub(super) fn secret(&self, path: PathBuf) -> Result<PathBuf, String> {
        // systemd makes `secrets_device.key` of `device.key` in the folder `secrets`.
        let handed = path.strip_prefix(SECRETS).ok().zip(self.credentials).map(|(name, credentials)| {
            let name = name.display().to_string().replace('/', "_");
            credentials.join(format!("{SECRETS}_{name}"))
        });
        match handed.filter(|handed| handed.exists()) {
            Some(handed) => Ok(handed),
            None => self.absolute(path),
        }
    }
}

impl Raw {
    pub(super) fn resolve(self, place: &Place<'_>) -> Result<Config, String> {
        let absolute = |path| place.absolute(path);
        let policy = Policy::default();
        Ok(Config {
            device: self.device,
            labels: self.labels,
            state_dir: absolute(self.state)?,
            root: absolute(self.root)?,
            prefix: self.broker.prefix.clone().unwrap_or_else(|| topic::PREFIX.into()),
            broker: self.broker.resolve(place)?,
            http: Tls { ca: self.http.ca.map(absolute).transpose()?, client: None },
            policy: Policy {
                memory_bytes_max: self.policy.memory.map_or(policy.memory_bytes_max, |size| size.0),
                port_min: self.policy.port_min.unwrap_or(policy.port_min),
                data_bytes_max: self.policy.data.map_or(policy.data_bytes_max, |size| size.0),
                mounts: self.directories.iter().map(|(name, directory)| (name.clone(), directory.write)).collect(),
                agent: self.policy.agent.unwrap_or(policy.agent),
                follow: self.policy.follow.unwrap_or(policy.follow),
            },
            connect: self.policy.connect.map(|connect| connect.into_iter().map(|RawReach(reach)| reach).collect()),
            directories: self
                .directories
                .into_iter()
                .map(|(name, directory)| Ok((name, absolute(directory.path)?)))
                .collect::<Result<_, String>>()?,
            bind: self.bind,
            door: doors::door(self.door, place)?,
            front: self.front.map(|front| front.resolve(place)).transpose()?,
            home_assistant: self.home_assistant.map(|home| home.prefix),
        })
    }
}

impl RawBroker {
    fn resolve(self, place: &Place<'_>) -> Result<Broker, String> {
        let client = match (self.certificate, self.key) {
            (Some(certificate), Some(key)) => Some((place.secret(certificate)?, place.secret(key)?)),
            (None, None) => None,
            _ => return Err("[broker] needs both `certificate` and `key`, or neither".into()),
        };
        let password = match (self.password, self.password_file) {
            (Some(_), Some(_)) => return Err("[broker] has both `password` and `password_file`".into()),
            (Some(password), None) => Some(password),
            (None, Some(file)) => Some(read_password(&place.secret(file)?)?),
            (None, None) => None,
        };
        let credentials = match (self.user, password) {
            (Some(user), password) => Some(Credentials { user, password: password.unwrap_or_default() }),
            (None, Some(_)) => return Err("[broker] has a password, but no `user`".into()),
            (None, None) => None,
        };
        let keep_alive = self.keep_alive.map_or(KEEP_ALIVE, |span| span.0);
        if !KEEP_ALIVE_RANGE.contains(&keep_alive) {
            return Err("`keep_alive` must be from 5s to 18h".into());
        }
        let tls = Tls { ca: self.ca.map(|ca| place.absolute(ca)).transpose()?, client };
        Ok(Broker { url: self.url, tls, credentials, keep_alive })
    }
}

fn read_password(path: &Path) -> Result<String, String> {
    let text = fs::read_to_string(path);
    let text = text.map_err(|error| format!("`password_file`: cannot read {}: {error}", path.display()))?;
    Ok(text.trim_end_matches(['\r', '\n']).into())
}

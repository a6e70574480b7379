//! What of this board an app is given: directories, networks and secrets, as its setup says and the owner allows.

use std::{collections::BTreeMap, io, path::PathBuf};

use dunlin_core::{
    Code, Refusal,
    policy::Setup,
    wire::{
        AppName, DeviceId, FleetName, MountName,
        sealed::{OpeningKey, Purpose},
    },
};
use dunlin_host::{Directory, Reach};

/// What a guest calls the directory of its own.
const DATA: &str = "/data";

/// What the board's owner lets apps use.
#[derive(Debug)]
pub(crate) struct Board {
    /// Where apps' own directories are.
    pub(crate) apps: PathBuf,
    /// The directories that apps share.
    pub(crate) directories: BTreeMap<MountName, PathBuf>,
    /// Whom apps may reach: whom their releases name, if absent.
    pub(crate) within: Option<Vec<Reach>>,
    /// Who this board is.
    pub(crate) fleet: FleetName,
    pub(crate) device: DeviceId,
    /// What opens values that are sealed to it.
    pub(crate) key: Option<OpeningKey>,
}

impl Board {
    /// An app's directories, in the order of their descriptors: its own first, made if it isn't there.
    pub(crate) fn directories(&self, app: &AppName, setup: &Setup) -> Result<Vec<Directory>, String> {
        let mut directories = Vec::new();
        if setup.data_bytes > 0 {
            let host = self.apps.join(app.as_str()).join("data");
            let failed = |error: io::Error| format!("cannot create {}: {error}", host.display());
            std::fs::create_dir_all(&host).map_err(failed)?;
            let bytes_max = Some(setup.data_bytes);
            directories.push(Directory { host, guest: DATA.into(), read_only: false, bytes_max });
        }
        for mount in &setup.mounts {
            let path = self.directories.get(&mount.name);
            let host = path.ok_or_else(|| format!("this board has no directory {}", mount.name))?.clone();
            let (guest, read_only) = (format!("/{}", mount.name), !mount.write);
            directories.push(Directory { host, guest, read_only, bytes_max: None });
        }
        Ok(directories)
    }

    /// An app's environment, with what was sealed to this board opened.
    pub(crate) fn environment(&self, app: &AppName, setup: &Setup) -> Result<Vec<(String, String)>, String> {
        let mut env: Vec<_> = setup.env.iter().map(|(name, value)| (name.to_string(), value.clone())).collect();
        for (name, sealed) in &setup.secrets {
            let purpose = Purpose { fleet: &self.fleet, device: &self.device, app, name };
            let key = self.key.as_ref().ok_or("this board has no key to open secrets with: see its log")?;
            let value = key.open(sealed, &purpose).map_err(|refusal| refusal.to_string())?;
            env.push((name.to_string(), value));
        }
        Ok(env)
    }
}

/// Whom an app asks to reach, understood.
pub(crate) fn reach(app: &AppName, setup: &Setup) -> Result<Vec<Reach>, Refusal> {
    let understood = |text: &dunlin_core::wire::Reach| {
        let wrong = |error| Refusal::new(Code::Malformed, format!("{app} asks for a connection: {error}"));
        text.as_str().parse().map_err(wrong)
    };
    setup.connect.iter().map(understood).collect()
}

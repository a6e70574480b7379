//! Values that only the boards that they are for can read.

use std::{
    io::{self, Read},
    path::Path,
};

use anyhow::{Context, Result, anyhow, ensure};
use dunlin_core::{
    limits,
    wire::{
        AppName, DeviceId, EnvName, Sealed, SealingKey, Selector, Term,
        sealed::{Aead, Kdf, Kem, Purpose},
    },
};
use hpke::{Deserializable, OpModeS, Serializable};

use crate::{device, fleet::Fleet};

/// `NAME=VALUE`, `NAME=@FILE` or `NAME=@-` for standard input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SecretArg {
    name: EnvName,
    value: Source,
}

#[derive(Clone, PartialEq, Eq)]
enum Source {
    Given(String),
    File(String),
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Given(_) => f.write_str("Given(…)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

impl std::str::FromStr for SecretArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("write NAME=VALUE, NAME=@FILE or NAME=@-")?;
        let name = name.parse().map_err(|error| format!("{error}"))?;
        let value = match value.strip_prefix('@') {
            Some(path) => Source::File(path.into()),
            None => Source::Given(value.into()),
        };
        Ok(Self { name, value })
    }
}

impl SecretArg {
    fn read(&self) -> Result<String> {
        let value = match &self.value {
            Source::Given(value) => value.clone(),
            Source::File(path) => {
                let mut text = String::new();
                let read = match path.as_str() {
                    "-" => io::stdin().read_to_string(&mut text),
                    path => std::fs::File::open(Path::new(path)).and_then(|mut file| file.read_to_string(&mut text)),
                };
                read.with_context(|| format!("cannot read the value of {} from {path}", self.name))?;
                text.trim_end_matches(['\r', '\n']).into()
            }
        };
        let (length, max) = (value.len(), limits::TEXT_BYTES_MAX);
        ensure!(length <= max, "the value of {} has {length} bytes: at most {max} can be", self.name);
        ensure!(!value.contains('\0'), "the value of {} has a NUL in it", self.name);
        Ok(value)
    }
}

/// These values, sealed to every device whose key is known and which the selector may mean.
pub(crate) fn seal(
    fleet: &Fleet,
    app: &AppName,
    to: &Selector,
    secrets: &[SecretArg],
) -> Result<Vec<(EnvName, Vec<Sealed>)>> {
    if secrets.is_empty() {
        return Ok(Vec::new());
    }
    let known = device::keys(fleet)?;
    let meant = |device: &DeviceId| {
        let named = to.0.iter().filter_map(|term| match term {
            Term::Device(ids) => Some(ids),
            Term::Label(..) => None,
        });
        named.clone().all(|ids| ids.contains(device))
    };
    for device in to.0.iter().flat_map(|term| if let Term::Device(ids) = term { ids.as_slice() } else { &[] }) {
        ensure!(known.contains_key(device), "{}", how_to_know(device));
    }
    let keys: Vec<_> = known.iter().filter(|(device, _)| meant(device)).collect();
    ensure!(!keys.is_empty(), "no device's key is known here: {HOW}");
    let mut sealed = Vec::new();
    for secret in secrets {
        let (name, value) = (&secret.name, secret.read()?);
        let one = |(device, key): &(&DeviceId, &SealingKey)| {
            seal_one(&value, key, &Purpose { fleet: &fleet.name, device, app, name })
        };
        sealed.push((name.clone(), keys.iter().map(one).collect::<Result<_>>()?));
    }
    Ok(sealed)
}

const HOW: &str = "`dunlin key` on a board says it, and `dunlinctl device add ID KEY` adds it";

fn how_to_know(device: &DeviceId) -> String {
    format!("the key of {device} is not known here: {HOW}")
}

fn seal_one(value: &str, key: &SealingKey, purpose: &Purpose<'_>) -> Result<Sealed> {
    let device = purpose.device;
    let wrong = |error| anyhow!("the key of {device} is no key: {error}");
    let public = <Kem as hpke::Kem>::PublicKey::from_bytes(&key.0).map_err(wrong)?;
    let (info, data) = (Purpose::info(), purpose.data());
    let sealed = hpke::single_shot_seal::<Aead, Kdf, Kem>(&OpModeS::Base, &public, info, value.as_bytes(), &data)
        .map_err(wrong)?;
    let (encapsulated, ciphertext) = sealed;
    Ok(Sealed { device: device.clone(), encapsulated: encapsulated.to_bytes().into(), ciphertext })
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_core::wire::{FleetName, sealed::OpeningKey};

    #[test]
    fn what_is_sealed_to_a_device_only_it_can_open_and_only_for_this() {
        let (board, other) = (OpeningKey::new(&[1; 32]).unwrap(), OpeningKey::new(&[2; 32]).unwrap());
        let fleet: FleetName = "flock".parse().unwrap();
        let device: DeviceId = "pi-1".parse().unwrap();
        let [app, another]: [AppName; 2] = ["hello", "other"].map(|name| name.parse().unwrap());
        let [name, wrong]: [EnvName; 2] = ["TOKEN", "PATH"].map(|name| name.parse().unwrap());
        let purpose = Purpose { fleet: &fleet, device: &device, app: &app, name: &name };
        let sealed = seal_one("hunter2", &board.public(), &purpose).unwrap();
        assert_eq!(board.open(&sealed, &purpose).unwrap(), "hunter2");
        assert!(other.open(&sealed, &purpose).is_err(), "another board");
        assert!(board.open(&sealed, &Purpose { app: &another, ..purpose }).is_err(), "another app");
        assert!(board.open(&sealed, &Purpose { name: &wrong, ..purpose }).is_err(), "another variable");
        assert!(!sealed.ciphertext.windows(7).any(|bytes| bytes == b"hunter2"));
        let again = seal_one("hunter2", &board.public(), &purpose).unwrap();
        assert_ne!(again, sealed, "nobody sees that it is the same value");
    }

    #[test]
    fn values_are_never_shown() {
        let arg: SecretArg = "TOKEN=hunter2".parse().unwrap();
        assert!(!format!("{arg:?}").contains("hunter2"));
        for bad in ["TOKEN", "A B=x"] {
            assert!(bad.parse::<SecretArg>().is_err(), "{bad}");
        }
    }
}

//! An enrolment: everything that one board needs to join its fleet, as one file.
//!
//! `dunlinctl enroll` writes it and `dunlin join` reads it. It holds the board's secrets; it is
//! never shown.

use std::{fmt, path::Path};

use base64::{Engine, prelude::BASE64_STANDARD};
use dunlin_core::{
    trust::{Verified, first_root},
    wire::{DeviceId, Root, plan::Labels},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::{config::ConfigError, link::BrokerUrl};

/// What a board is to become.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrolment {
    /// Who it is.
    pub device: DeviceId,
    /// The root of trust that it begins with.
    #[serde(serialize_with = "write_root", deserialize_with = "read_root")]
    pub root: Verified<Root>,
    /// By what plans select it.
    #[serde(default)]
    pub labels: Labels,
    /// How it reaches its broker.
    pub broker: EnrolmentBroker,
}

/// How a board reaches its broker, certificates and keys as PEM.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrolmentBroker {
    /// `mqtts://broker.example:8883`
    #[serde(serialize_with = "write_url")]
    pub url: BrokerUrl,
    /// What topics begin with, if not as usual.
    pub prefix: Option<String>,
    /// Who vouches for the broker.
    pub ca: Option<String>,
    /// The board's certificate,
    pub certificate: Option<String>,
    /// and its key.
    pub key: Option<String>,
    /// The board's name at the broker,
    pub user: Option<String>,
    /// and its password.
    pub password: Option<String>,
}

impl fmt::Debug for Enrolment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without what is secret.
        f.debug_struct("Enrolment").field("device", &self.device).finish_non_exhaustive()
    }
}

impl Enrolment {
    /// What a file with this text says; `path` is for the error.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|error| ConfigError::in_toml(path, text, &error))
    }

    /// The file's text.
    pub fn to_text(&self) -> Result<String, toml::ser::Error> {
        let (device, fleet) = (&self.device, &self.root.fleet);
        Ok(format!(
            "# With this file a board becomes {device} of the fleet {fleet}: dunlin join FILE\n\
             # It holds the board's secrets. Delete it when the board has joined.\n\n{}",
            toml::to_string_pretty(self)?
        ))
    }
}

fn write_root<S: Serializer>(root: &Verified<Root>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&BASE64_STANDARD.encode(root.to_bytes()))
}

fn read_root<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Verified<Root>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let bytes = BASE64_STANDARD.decode(text).map_err(|_| D::Error::custom("the root is not base64"))?;
    first_root(&bytes).map_err(|refusal| D::Error::custom(format_args!("the root: {refusal}")))
}

fn write_url<S: Serializer>(url: &BrokerUrl, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(url)
}

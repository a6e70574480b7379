//! Values that one device alone can read: the broker and the other boards carry them without knowing them.
//!
//! HPKE (RFC 9180) in base mode: X25519, HKDF-SHA256, ChaCha20-Poly1305. What a value is for goes into it
//! as associated data, so that nobody can hand it to another app, variable or device.

use alloc::{format, string::String, vec::Vec};
use core::fmt;
use serde::{Deserialize, Serialize};

use hpke::{
    Deserializable, OpModeR, Serializable, aead::ChaCha20Poly1305, kdf::HkdfSha256, kem::X25519HkdfSha256,
    single_shot_open,
};

use super::{AppName, DeviceId, EnvName, FleetName, SealingKey, encode};
use crate::{Code, Refusal};

/// Separates these from everything else that anybody encrypts with the same keys.
const INFO: &[u8] = b"dunlin/v1/secret";

/// What seals and opens.
pub type Kem = X25519HkdfSha256;
/// What derives keys.
pub type Kdf = HkdfSha256;
/// What encrypts.
pub type Aead = ChaCha20Poly1305;

/// A value, sealed to a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// The device.
    pub device: DeviceId,
    /// The sender's half of the agreement, made for this value alone.
    pub encapsulated: [u8; 32],
    /// The value's bytes and a tag of 16.
    pub ciphertext: Vec<u8>,
}

/// What a value is for.
#[derive(Clone, Copy, Debug)]
pub struct Purpose<'a> {
    /// The fleet.
    pub fleet: &'a FleetName,
    /// The device.
    pub device: &'a DeviceId,
    /// The app.
    pub app: &'a AppName,
    /// The variable.
    pub name: &'a EnvName,
}

impl Purpose<'_> {
    /// The associated data.
    pub fn data(&self) -> Vec<u8> {
        encode(&(self.fleet, self.device, self.app, self.name))
    }

    /// What all of them have in common.
    pub const fn info() -> &'static [u8] {
        INFO
    }
}

/// A device's secret half of its [`SealingKey`].
#[derive(Clone)]
pub struct OpeningKey(<Kem as hpke::Kem>::PrivateKey);

impl fmt::Debug for OpeningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpeningKey").field("public", &self.public()).finish_non_exhaustive()
    }
}

impl OpeningKey {
    /// The key of these 32 random bytes.
    pub fn new(bytes: &[u8; 32]) -> Option<Self> {
        <Kem as hpke::Kem>::PrivateKey::from_bytes(bytes).ok().map(Self)
    }

    /// The half that others are told.
    pub fn public(&self) -> SealingKey {
        SealingKey(<Kem as hpke::Kem>::sk_to_pk(&self.0).to_bytes().into())
    }

    /// The value that was sealed to this key, for this purpose.
    pub fn open(&self, sealed: &Sealed, purpose: &Purpose<'_>) -> Result<String, Refusal> {
        let Purpose { device, app, name, .. } = purpose;
        let refused = |what: &str| {
            let key = self.public();
            Refusal::new(Code::Policy, format!("{name} of {app} {what} {device}, whose sealing key is {key}"))
        };
        let closed = || refused("is not sealed, or not for this, to");
        let encapsulated = <Kem as hpke::Kem>::EncappedKey::from_bytes(&sealed.encapsulated).map_err(|_| closed())?;
        let (mode, data) = (OpModeR::Base, purpose.data());
        let opened = single_shot_open::<Aead, Kdf, Kem>(&mode, &self.0, &encapsulated, INFO, &sealed.ciphertext, &data);
        String::from_utf8(opened.map_err(|_| closed())?).map_err(|_| refused("is not text for"))
    }
}

//! A fleet whose keys lie open: what a board trusts, and documents signed so that it looks inside.

use dunlin_core::{
    trust::{Verified, first_root},
    wire::{Envelope, Kind, PublicKey, ReleaseRole, Role, Root, Signature, Timestamp},
};
use ed25519_dalek::{Signer, SigningKey};

/// The time on the board.
pub const NOW: Timestamp = Timestamp(1_800_000_000);

/// Who signs roots.
pub const ROOT: u8 = 1;
/// Who signs plans.
pub const DEPLOY: u8 = 2;
/// Who signs releases.
pub const RELEASE: u8 = 3;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

/// A role of one key.
pub fn role(seed: u8) -> Role {
    Role { keys: vec![PublicKey(key(seed).verifying_key().to_bytes())], threshold: 1 }
}

/// Any bytes, signed by this key as a document of this kind.
pub fn sign(kind: Kind, body: &[u8], seed: u8) -> Vec<u8> {
    let mut envelope = Envelope { kind, body: body.to_vec(), signatures: Vec::new() };
    let key = key(seed);
    let signature = key.sign(&envelope.message());
    let public = PublicKey(key.verifying_key().to_bytes());
    envelope.signatures.push(Signature { key: public, r: *signature.r_bytes(), s: *signature.s_bytes() });
    envelope.encode()
}

/// The root of the fleet `flock`, before it is signed.
pub fn root() -> Root {
    Root {
        fleet: "flock".parse().expect("a good name"),
        version: 1,
        expires: Timestamp(NOW.0 + 1_000_000),
        root: role(ROOT),
        deploy: role(DEPLOY),
        release: vec![ReleaseRole { apps: vec![], role: role(RELEASE) }],
        grant: None,
        revoked: vec![],
        floors: vec![],
    }
}

/// The root that the board trusts.
pub fn trusted() -> Verified<Root> {
    let body = Envelope::unsigned(&root()).body;
    first_root(&sign(Kind::Root, &body, ROOT)).expect("a good root")
}

/// An envelope from an input: as it came, or, if its first byte is even, its rest as a body that the
/// right key signed. The first is what anybody can send, the second what a thief of the key can.
pub fn envelope(data: &[u8], kind: Kind, seed: u8) -> (Vec<u8>, Source) {
    match data.split_first() {
        Some((first, body)) if first % 2 == 0 => (sign(kind, body, seed), Source::Signed),
        Some((_, envelope)) => (envelope.to_vec(), Source::Anybody),
        None => (Vec::new(), Source::Anybody),
    }
}

/// Who made an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The holder of the key.
    Signed,
    /// Whoever can publish: nothing of theirs may be accepted.
    Anybody,
}

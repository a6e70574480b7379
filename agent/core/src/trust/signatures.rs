//! Signatures by a role's keys, counted against its threshold.

use alloc::format;
use ed25519_dalek::{Signature as Ed25519, VerifyingKey};

use crate::{
    Code, Refusal,
    refusal::ensure,
    wire::{Envelope, PublicKey, Role, Signature},
};

/// Holds if enough of the role's keys signed this envelope's exact body.
///
/// A signature by a key outside the role counts for nothing and harms nothing: during a rotation
/// documents carry some. One by a key of the role that does not fit is never an accident.
///
/// *The signature is over a domain tag, the length and the exact body bytes; it is verified
/// (`verify_strict`) before the body is parsed.*
pub(super) fn check(envelope: &Envelope, role: &Role) -> Result<(), Refusal> {
    let message = envelope.message();
    let ours = envelope.signatures.iter().filter(|s| role.keys.contains(&s.key));
    let mut good = 0usize;
    for signature in ours {
        verify(&message, signature).ok_or_else(|| {
            let sentence = format!("a {} whose signature by {} does not fit", envelope.kind, short(&signature.key));
            Refusal::new(Code::BadSignature, sentence)
        })?;
        good += 1;
    }
    ensure!(
        good >= usize::from(role.threshold),
        Unsigned,
        "a {} with {good} of the {} signatures that the root asks for",
        envelope.kind,
        role.threshold
    );
    Ok(())
}

fn verify(message: &[u8], signature: &Signature) -> Option<()> {
    let key = VerifyingKey::from_bytes(&signature.key.0).ok()?;
    key.verify_strict(message, &Ed25519::from_components(signature.r, signature.s)).ok()
}

fn short(key: &PublicKey) -> alloc::string::String {
    let mut hex = format!("{key}");
    hex.truncate(12);
    hex
}

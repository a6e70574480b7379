//! The envelope: one document's exact bytes and the signatures over them.

use alloc::{format, vec::Vec};
use core::fmt;
use serde::{Deserialize, Serialize};

use super::{Digest, Document, PublicKey, decode, encode};
use crate::{Code, Refusal, limits, refusal::ensure};

/// Which document an envelope holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// [`Root`](super::Root).
    Root,
    /// [`Release`](super::Release).
    Release,
    /// [`Plan`](super::Plan).
    Plan,
}

impl Kind {
    /// What a signature is over begins with this, so that no document passes for another.
    const fn domain(self) -> &'static [u8] {
        match self {
            Self::Root => b"dunlin/v1/root",
            Self::Release => b"dunlin/v1/release",
            Self::Plan => b"dunlin/v1/plan",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Root => "root",
            Self::Release => "release",
            Self::Plan => "plan",
        })
    }
}

/// An ed25519 signature (RFC 8032) and the key that it claims to be by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// The signer's public key.
    pub key: PublicKey,
    /// The signature's first half, R.
    pub r: [u8; 32],
    /// Its second half, S.
    pub s: [u8; 32],
}

/// A signed document before anybody looked whether it is to be trusted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// What the body is.
    pub kind: Kind,
    /// The document's encoding, exactly as signed.
    pub body: Vec<u8>,
    /// At most [`SIGNATURES_MAX`](limits::SIGNATURES_MAX), one a key.
    pub signatures: Vec<Signature>,
}

impl Envelope {
    /// An envelope around a document, not yet signed by anybody.
    pub fn unsigned<D: Document>(document: &D) -> Self {
        Self { kind: D::KIND, body: encode(document), signatures: Vec::new() }
    }

    /// Takes an envelope of this kind apart, within the bounds.
    pub fn decode(bytes: &[u8], kind: Kind) -> Result<Self, Refusal> {
        let max = limits::ENVELOPE_BYTES_MAX;
        ensure!(bytes.len() <= max, Oversized, "a {kind} of {} bytes, more than the {max} allowed", bytes.len());
        let envelope: Self = decode(bytes, kind)?;
        ensure!(envelope.kind == kind, WrongKind, "a {} where a {kind} belongs", envelope.kind);
        let signatures = &envelope.signatures;
        ensure!(
            signatures.len() <= limits::SIGNATURES_MAX,
            Oversized,
            "a {kind} with {} signatures, more than the {} allowed",
            signatures.len(),
            limits::SIGNATURES_MAX
        );
        let repeated = signatures.iter().enumerate().any(|(i, s)| signatures[..i].iter().any(|t| t.key == s.key));
        ensure!(!repeated, Malformed, "a {kind} with two signatures by one key");
        Ok(envelope)
    }

    /// Which kind of envelope these bytes are, for tools that look at any of them.
    pub fn kind_of(bytes: &[u8]) -> Result<Kind, Refusal> {
        match bytes.first() {
            Some(0) => Ok(Kind::Root),
            Some(1) => Ok(Kind::Release),
            Some(2) => Ok(Kind::Plan),
            _ => Err(Refusal::new(Code::Malformed, "this is not an envelope")),
        }
    }

    /// The envelope's own encoding: what is published and stored.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// The digest that names the document: of its body, whoever signed it.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.body)
    }

    /// The message that a signature is over: the kind's domain, the body's length (u64, little
    /// endian) and the body.
    pub fn message(&self) -> Vec<u8> {
        let mut message = Vec::with_capacity(self.body.len() + 32);
        message.extend_from_slice(self.kind.domain());
        message.extend_from_slice(&(self.body.len() as u64).to_le_bytes());
        message.extend_from_slice(&self.body);
        message
    }

    /// The document inside, parsed and within its bounds. That says nothing about its truth.
    pub fn body<D: Document>(&self) -> Result<D, Refusal> {
        ensure!(self.kind == D::KIND, WrongKind, "a {} where a {} belongs", self.kind, D::KIND);
        let document: D = decode(&self.body, D::KIND)?;
        document.check().map_err(|r| Refusal::new(r.code, format!("the {}: {}", D::KIND, r.sentence)))?;
        Ok(document)
    }
}

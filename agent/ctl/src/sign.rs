//! Makes envelopes: a document, checked as its readers will check it, and signatures over it.

use anyhow::{Context, Result};
use dunlin_core::wire::{Document, Envelope, PublicKey};

use crate::keys::Key;

/// The document in an envelope with these keys' signatures.
///
/// A document outside its bounds is not signed: no board would take it.
pub(crate) fn seal<D: Document>(document: &D, keys: &[&Key]) -> Result<Envelope> {
    document.check().with_context(|| format!("this makes no good {}", D::KIND))?;
    let mut envelope = Envelope::unsigned(document);
    add(&mut envelope, keys)?;
    Ok(envelope)
}

/// Adds the signatures of those of these keys that have not signed it; says of which.
pub(crate) fn add(envelope: &mut Envelope, keys: &[&Key]) -> Result<Vec<PublicKey>> {
    let message = envelope.message();
    let mut added = Vec::new();
    for key in keys {
        let public = key.public();
        if envelope.signatures.iter().all(|signature| signature.key != public) {
            envelope.signatures.push(key.sign(&message));
            added.push(public);
        }
    }
    // Length and number of signatures, as the other side counts them.
    let kind = envelope.kind;
    Envelope::decode(&envelope.encode(), kind).with_context(|| format!("this makes no good {kind}"))?;
    Ok(added)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_core::{
        trust::first_root,
        wire::{ReleaseRole, Role, Root, Timestamp},
    };

    fn root(key: &Key) -> Root {
        let role = Role { keys: [key.public()].into(), threshold: 1 };
        Root {
            fleet: "flock".parse().unwrap(),
            version: 1,
            expires: Timestamp(1),
            root: role.clone(),
            deploy: role.clone(),
            release: [ReleaseRole { apps: [].into(), role }].into(),
            grant: None,
            revoked: [].into(),
            floors: [].into(),
        }
    }

    #[test]
    fn what_is_sealed_is_trusted_by_who_trusts_the_key() {
        let key = Key::generate().unwrap();
        let sealed = seal(&root(&key), &[&key]).unwrap().encode();
        assert_eq!(*first_root(&sealed).unwrap(), root(&key));
        let other = Key::generate().unwrap();
        let sealed = seal(&root(&key), &[&other]).unwrap().encode();
        assert!(first_root(&sealed).is_err());
    }

    #[test]
    fn what_no_board_would_take_is_not_signed() {
        let key = Key::generate().unwrap();
        let bad = Root { version: 0, ..root(&key) };
        assert!(format!("{:#}", seal(&bad, &[&key]).unwrap_err()).contains("version 0"));
    }
}

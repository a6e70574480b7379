//! Releases, and the bytes that they name.

use super::{Verified, signatures};
use crate::{
    Code, Refusal,
    refusal::ensure,
    wire::{AppName, Digest, Envelope, Kind, Module, Release, ReleaseRef, Root},
};
use alloc::format;

/// The release that a plan orders for an app.
pub fn verify_release(
    root: &Verified<Root>,
    app: &AppName,
    order: &ReleaseRef,
    bytes: &[u8],
) -> Result<Verified<Release>, Refusal> {
    let envelope = Envelope::decode(bytes, Kind::Release)?;
    let digest = envelope.digest();
    let fits = digest == order.digest;
    ensure!(fits, WrongDigest, "the release {} where {} was ordered", digest.short(), order.digest.short());
    // Two keys: the deploy key can only order releases that the release key has signed.
    signed_by_any(root, app, &envelope)?;
    let document: Release = envelope.body()?;
    fits_order(&document, app, order)?;
    let release = Verified::new(document, envelope);
    stands(root, &release)?;
    Ok(release)
}

/// Holds if a root lets this release run: asked of what runs, too, when a new root comes.
pub fn stands(root: &Root, release: &Verified<Release>) -> Result<(), Refusal> {
    let Release { app, counter, version, module, .. } = &**release;
    // Never below a security floor.
    let floor = root.floor(app);
    ensure!(*counter >= floor, BelowFloor, "{app} {counter}, below the floor of {floor}");
    let revoked = root.revoked.contains(&release.digest()) || root.revoked.contains(&module.sha256);
    ensure!(!revoked, Revoked, "{app} {version}, which root {} revokes", root.version);
    Ok(())
}

/// Holds if a release is what a plan orders for an app. Whoever finds a verified release by its
/// digest asks again: it may have been ordered for another app when it was verified.
pub(crate) fn fits_order(release: &Release, app: &AppName, order: &ReleaseRef) -> Result<(), Refusal> {
    // Audience: a release names its app.
    ensure!(release.app == *app, WrongApp, "a release of {} ordered as {app}", release.app);
    let (counter, ordered) = (release.counter, order.counter);
    ensure!(counter == ordered, WrongCounter, "{app} {counter}, but the plan names {app} {ordered}");
    Ok(())
}

/// Signed by enough keys of one of the release roles for this app.
fn signed_by_any(root: &Root, app: &AppName, envelope: &Envelope) -> Result<(), Refusal> {
    let mut why = Refusal::new(Code::Unsigned, format!("no key of the root may release {app}"));
    for role in root.release_roles(app) {
        let Err(refusal) = signatures::check(envelope, role) else { return Ok(()) };
        // A signature that does not fit says more than that another role did not sign.
        if why.code != Code::BadSignature {
            why = refusal;
        }
    }
    Err(why)
}

/// Whether this root lets a release ask for more than the one before it: the grant keys signed it,
/// or there are none.
///
/// *Widening: a release that asks for more than the running one needs the `grant` role's signature
/// as well, when the root has one.*
pub fn may_widen(root: &Root, release: &Verified<Release>) -> bool {
    root.grant.as_ref().is_none_or(|grant| signatures::check(release.envelope(), grant).is_ok())
}

/// Holds if these bytes are the chunk of this index.
pub fn check_chunk(module: &Module, index: u32, bytes: &[u8]) -> Result<(), Refusal> {
    let range = module.range(index).zip(module.chunks.get(index as usize));
    let Some(((_, length), hash)) = range else {
        return Err(Refusal::new(Code::WrongChunk, format!("chunk {index} of {}", module.count())));
    };
    let name = module.sha256.short();
    ensure!(bytes.len() == length, WrongChunk, "chunk {index} of {name} has {} bytes, not {length}", bytes.len());
    ensure!(Digest::of(bytes) == *hash, WrongChunk, "chunk {index} of {name} does not hash to what the release says");
    Ok(())
}

/// Holds if a whole module has this length and digest.
///
/// *Re-hash: a module's hash is checked when it is fetched and again each time it is loaded from disk.*
pub fn check_module(module: &Module, bytes: u64, digest: Digest) -> Result<(), Refusal> {
    let fits = bytes == module.bytes && digest == module.sha256;
    ensure!(fits, WrongModule, "the module {} hashes to {}", module.sha256.short(), digest.short());
    Ok(())
}

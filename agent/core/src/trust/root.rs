//! Roots: the first by hand, each later one by its predecessor.

use super::{Verified, signatures};
use crate::{
    Refusal,
    refusal::ensure,
    wire::{Envelope, Kind, Root},
};

/// The root that a board was given by hand: trusted because of who gave it.
///
/// It must still fit itself: signed by its own threshold, so that a file damaged on the way shows.
pub fn first_root(bytes: &[u8]) -> Result<Verified<Root>, Refusal> {
    let envelope = Envelope::decode(bytes, Kind::Root)?;
    let document: Root = envelope.body()?;
    signatures::check(&envelope, &document.root)?;
    Ok(Verified::new(document, envelope))
}

/// The successor of the root in force.
///
/// *Root n is signed by thresholds of root n-1 and of root n.* An expired root blocks new plans,
/// never the walk to the next root, so no time is looked at here.
pub fn next_root(current: &Verified<Root>, bytes: &[u8]) -> Result<Verified<Root>, Refusal> {
    let envelope = Envelope::decode(bytes, Kind::Root)?;
    signatures::check(&envelope, &current.root)?;
    let document: Root = envelope.body()?;
    signatures::check(&envelope, &document.root)?;
    let (fleet, ours) = (&document.fleet, &current.fleet);
    ensure!(fleet == ours, WrongFleet, "a root of the fleet {fleet}, but this is {ours}");
    let (version, last) = (document.version, current.version);
    let follows = last.checked_add(1) == Some(version);
    ensure!(follows, RootGap, "root {version}, but only the direct successor of root {last} can follow");
    Ok(Verified::new(document, envelope))
}

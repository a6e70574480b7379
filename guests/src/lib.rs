//! The guest programs of this repository, built for `wasm32-wasip1`, and some as components, by name.
//!
//! A build script builds them with one cargo invocation for each target, so that tests which name one need no
//! step before them. It never builds anything that is not in this folder.

/// A guest that was built along with this crate.
#[derive(Clone, Copy, Debug)]
pub struct Artifact {
    /// The guest's folder under `guests/`.
    pub name: &'static str,
    /// Where the module was built.
    pub path: &'static str,
    /// The module.
    pub bytes: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/artifacts.rs"));

//! What the fuzz targets share: how their bytes are read, and what they are put in front of.
//!
//! The formats here are made to be written by hand too: `src/bin/seeds.rs` writes the corpus with them.

pub mod bytes;
pub mod calls;
pub mod fleet;
pub mod guests;
pub mod runs;

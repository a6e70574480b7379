//! Bundles: read a frame at a time, looked at before they are taken, and fed to the driver.
//!
//! A bundle is bytes from somewhere, as a broker's messages are, and goes through the same checks. All of
//! it is never in memory.

mod check;
mod reader;

pub use check::{Check, Finding, Outcome};
pub use reader::{NotRead, Reader};

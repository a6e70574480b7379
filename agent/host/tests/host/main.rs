//! Guests run by the host: what they are given, what they may not do, and what is left of them.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

#[cfg(feature = "components")]
mod command;
mod common;
#[cfg(feature = "components")]
mod components;
mod http;
mod keep_alive;
mod life;
#[cfg(feature = "components")]
mod linker;
mod rejected;
mod wasmi;

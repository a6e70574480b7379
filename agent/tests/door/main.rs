//! The board's door from outside: what it answers, to whom, and what nobody can do to it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says where")]
#![allow(unreachable_pub, reason = "what the rooms of one program share")]

#[path = "../common/mod.rs"]
mod common;

mod api;
mod ask;
mod commands;
mod crowd;
mod front;
mod scene;
mod schema;
mod strangers;

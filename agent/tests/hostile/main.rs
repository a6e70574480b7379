//! A hostile broker: whatever it does, the board refuses it by the right name, what runs goes on
//! answering, memory stays bounded, and when the mischief is over the board comes to what it should.
//!
//! [`proxy`] is the line on which it happens, [`mischief`] what can happen there, [`scene`] a board
//! behind it. The tests are sorted by what the broker does.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says where")]
#![allow(unreachable_pub, reason = "what the rooms of one program share")]
#![allow(clippy::wildcard_enum_match_arm, reason = "a packet that a mischief does not name passes it")]

#[path = "../common/mod.rs"]
mod common;

mod memory;
mod mischief;
mod proxy;
mod scene;

mod damage;
mod flood;
mod freeze;
mod line;
mod refusing;
mod replay;

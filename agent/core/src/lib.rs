//! Decides. Everything here is a pure function of bytes, state and the time it is told.
//!
//! This crate never reads a clock, a disk, a socket or a random number: it is `no_std`, so it
//! could not. The agent feeds it what happened and performs what it answers; the operator's
//! tool builds and checks the same documents with the same code.

#![no_std]

extern crate alloc;

pub mod limits;
pub mod refusal;

mod explain;
pub mod wire;

pub mod trust;

pub mod collect;
pub mod depot;
pub mod follow;
pub mod moment;
pub mod policy;
pub mod reconcile;
pub mod rollout;
pub mod supervise;
pub mod transfer;
pub mod upgrade;
pub mod verdict;

pub use moment::{Backoff, Bucket, Moment};
pub use refusal::{Code, Refusal};

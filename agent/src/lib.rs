//! Touches the device: the only room with an asynchronous runtime, a disk and MQTT.
//!
//! ```text
//! config ──▶ agent ──▶ driver: input ─▶ core ─▶ perform ──▶ apps ──▶ dunlin-host
//!                        ▲   │                    │
//!                  link ─┘   └─▶ report ─▶ link   └─▶ store, fetch
//!                                     └──▶ door: local HTTP
//! ```
//!
//! It decides nothing that [`dunlin_core`] could decide, and has no type that could sign anything.

pub mod agent;
pub mod bundle;
pub mod cli;
pub mod config;
pub mod door;
pub mod enrolment;
pub mod failure;
pub mod join;

mod apps;
mod driver;
mod fetch;
mod home_assistant;
pub mod identity;
mod notify;
mod patient;
#[cfg(test)]
#[path = "../tests/common/ports.rs"]
mod ports;
mod report;

pub mod import;
pub mod link;
pub mod run;
#[cfg(feature = "components")]
mod serve;
pub mod status;
pub mod store;
pub mod upgrade;

pub use failure::Failure;

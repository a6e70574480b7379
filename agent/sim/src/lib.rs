//! Runs thousands of agents against one broker and says what they cost.
//!
//! ```text
//! run ──▶ boards (threads) ──▶ board: dunlin::agent ──┬──────────▶ mosquitto (a process)
//!  │                                                  └─▶ line ──▶    ▲
//!  └────▶ operator ───────────────────────────────────────────────────┘
//!           └─ states ─▶ tally ─▶ report
//! ```
//!
//! What is real: the whole agent as it is on a board (driver, link, transfer, verification, supervision, files,
//! interpreter), a connection each, and a broker. What is not:
//! - **One machine.** There is no network but loopback, no TLS, and processors and memory are shared with the broker and
//!   the operator. Times are those of such a machine; what counts is bytes, messages, and how costs grow.
//! - **Guests that do nothing.** Most boards run a guest of one page that sleeps, so that what is measured is the
//!   agent. It is compiled and run by wasmi like any other. `--real-guests` runs servers.
//! - **A disk in memory.** State folders are in /dev/shm: syncing costs nothing there. They are not locked
//!   ([`Disk::unlocked`](dunlin::store::Disk::unlocked)): with a lock each, ten thousand boards would need twice the
//!   open files that many systems allow.
//! - **No queue at the broker is bounded**, because the operator hears of all boards at once.
//!
//! Faults are drawn by seed: lines that are cut within a module's chunks, slow lines, and boards that lose power after
//! each plan and come back on the same folder. What a board did when is up to threads and does not repeat.

mod chance;
mod fault;
mod settings;

mod fleet;
mod guest;

mod board;
mod boards;
mod line;

mod mosquitto;
mod operator;
mod tally;

mod real;
mod run;
mod usage;

pub mod report;

pub use fault::Faults;
pub use run::simulate;
pub use settings::Settings;

//! Ports for what a test starts. The simulator takes this file, too.

use std::{
    net::TcpListener,
    process,
    sync::atomic::{AtomicU32, Ordering},
};

/// Below those that the kernel gives to whoever asks for any: a client's own port is never one of these.
const FIRST: u16 = 12_000;
const COUNT: u32 = 20_000;

/// A port of loopback that nobody listens on, and that no other test of this process is given.
///
/// The kernel's own choice is one of few thousand, and nobody's until it is bound: of the dozens of tests
/// that run at once, two had the same now and then.
pub(crate) fn free_port() -> u16 {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = GIVEN.fetch_add(1, Ordering::Relaxed);
        // Processes that run beside this one begin elsewhere.
        let port = FIRST + (process::id().wrapping_mul(191).wrapping_add(number) % COUNT) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

//! Publishes a count under `count` every second, or as often as its first argument says in milliseconds, and says
//! again under `echo` what it hears.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

fn main() -> io::Result<()> {
    let interval = std::env::args().nth(1).and_then(|argument| argument.parse().ok()).unwrap_or(1_000);
    let interval = Duration::from_millis(interval);
    for count in 0_u64.. {
        publish("count", count.to_string().as_bytes())?;
        let next = Instant::now() + interval;
        while let Some(message) = dunlin_bus::receive(Some(next.saturating_duration_since(Instant::now())))? {
            publish("echo", &message.payload)?;
        }
    }
    Ok(())
}

/// A reading that cannot go now is not worth waiting for: there is a newer one soon.
fn publish(topic: &str, payload: &[u8]) -> io::Result<()> {
    match dunlin_bus::publish(topic, payload) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
        outcome => outcome,
    }
}

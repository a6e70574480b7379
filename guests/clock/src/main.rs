//! Sleeps, and panics where the clocks disagree about it.

use std::thread;
use std::time::{Duration, Instant, SystemTime};

const NAP: Duration = Duration::from_millis(50);

fn main() {
    let (instant, time) = (Instant::now(), SystemTime::now());
    thread::sleep(NAP);
    let slept = instant.elapsed();
    assert!(slept >= NAP, "woken after {slept:?}");
    // Whoever sets the machine's clock meanwhile may be surprised, and nobody else.
    assert!(time.elapsed().is_ok_and(|slept| slept >= NAP / 2));
    assert!(time > SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000), "the clock is not set");
    println!("clock: ok");
}

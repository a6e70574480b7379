//! `wasi:clocks`, and `wasi:io/poll` with them.

use wasip2::clocks::{monotonic_clock, wall_clock};
use wasip2::io::poll::poll;

const MILLISECOND: u64 = 1_000_000;

pub(crate) fn all() {
    assert!(monotonic_clock::resolution() > 0);
    assert!(wall_clock::resolution().nanoseconds < 1_000_000_000);
    let now = wall_clock::now();
    assert!(now.seconds > 1_600_000_000 && now.nanoseconds < 1_000_000_000);

    let start = monotonic_clock::now();
    let soon = monotonic_clock::subscribe_duration(20 * MILLISECOND);
    let never = monotonic_clock::subscribe_duration(u64::MAX);
    let past = monotonic_clock::subscribe_instant(start);
    assert!(past.ready() && !never.ready());
    past.block();
    assert_eq!(poll(&[&never, &past]), [1]);
    assert_eq!(poll(&[&past, &never, &past]), [0, 2]);
    assert_eq!(poll(&[&never, &soon]), [1]);
    assert!(monotonic_clock::now() - start >= 20 * MILLISECOND);
    assert!(soon.ready() && !never.ready());

    let due = monotonic_clock::now() + 10 * MILLISECOND;
    monotonic_clock::subscribe_instant(due).block();
    assert!(monotonic_clock::now() >= due);
}

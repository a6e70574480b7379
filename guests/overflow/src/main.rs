//! Recurses without end.

use std::hint::black_box;

fn main() {
    println!("overflow: {}", dive(1));
}

// Two calls that depend on each other, so that no compiler makes a loop of it.
#[expect(unconditional_recursion, reason = "that is what it is for")]
#[inline(never)]
fn dive(depth: u64) -> u64 {
    let deeper = dive(depth.wrapping_add(1));
    dive(deeper ^ black_box(depth))
}

//! Does nothing, for ever, as fast as it can.

use std::hint::black_box;

fn main() {
    println!("spin: spinning");
    let mut turns: u64 = 0;
    loop {
        turns = black_box(turns).wrapping_add(1);
    }
}

//! Allocates until it is refused, and says what it got. With `abort` as its first argument it does
//! not expect to be refused.

use std::env;

const MIB: usize = 1024 * 1024;

fn main() {
    let abort = env::args().nth(1).is_some_and(|argument| argument == "abort");
    let mut eaten: Vec<Vec<u8>> = Vec::new();
    loop {
        let mut bite = Vec::new();
        if abort {
            bite.reserve_exact(MIB);
        } else if bite.try_reserve_exact(MIB).is_err() {
            break;
        }
        bite.resize(MIB, 1);
        eaten.push(bite);
    }
    println!("eat-memory: had {} MiB", eaten.len());
}

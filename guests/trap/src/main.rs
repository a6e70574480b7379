//! Says a line, then aborts: in WebAssembly that is the instruction `unreachable`, which traps.

use std::process;

fn main() {
    println!("trap: about to abort");
    process::abort();
}

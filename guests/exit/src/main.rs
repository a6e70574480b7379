//! Exits with the code in its first argument, or returns from `main` without one.

use std::{env, process};

fn main() {
    if let Some(code) = env::args().nth(1).and_then(|argument| argument.parse().ok()) {
        process::exit(code);
    }
}

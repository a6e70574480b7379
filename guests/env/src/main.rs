//! Prints its arguments, then its environment, one to a line.

use std::env;

fn main() {
    for argument in env::args() {
        println!("{argument}");
    }
    for (name, value) in env::vars() {
        println!("{name}={value}");
    }
}

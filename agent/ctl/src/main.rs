//! The operator's tool, as a program.

use std::process::ExitCode;

fn main() -> ExitCode {
    dunlinctl::run()
}

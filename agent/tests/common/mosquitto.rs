//! The broker mosquitto, where it is installed. The simulator takes this file, too.

use std::process::{Command, Stdio};

/// Where Debian puts it, which is not on everybody's PATH.
const PROGRAMS: [&str; 2] = ["/usr/sbin/mosquitto", "mosquitto"];

/// What to start; nothing where it is not installed.
pub(crate) fn program() -> Option<&'static str> {
    let runs =
        |program: &&&str| Command::new(program).arg("-h").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    PROGRAMS.iter().find(runs).copied()
}

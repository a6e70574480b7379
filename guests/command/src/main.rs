//! Uses the interfaces of `wasi:cli/command` as their documents describe them, and panics where one is not so.
//!
//! The first argument says which: see [`main`]. What has to end the guest is in [`traps`].

#![expect(clippy::unwrap_used, reason = "what is not as documented ends it")]

mod cli;
mod clocks;
mod files;
mod lookup;
mod paths;
mod streams;
mod tcp;
mod traps;
mod udp;

fn main() {
    let args = std::env::args().collect::<Vec<_>>();
    let number = || args[2].parse().unwrap();
    match args[1].as_str() {
        "cli" => cli::all(),
        "exit" => wasip2::cli::exit::exit_with_code(number() as u8),
        "clocks" => clocks::all(),
        "files" => files::all(),
        "quota" => files::quota(),
        "paths" => paths::all(),
        "read-only" => paths::read_only(),
        "streams" => streams::all(),
        "tcp-states" => tcp::states(),
        "tcp" => tcp::connection(number()),
        "tcp-refused" => tcp::refused(number()),
        "udp" => udp::all(number()),
        "lookup" => lookup::all(),
        "lookup-denied" => lookup::denied(),
        trap => traps::run(trap),
    }
}

//! Any bytes, and real components with some bytes changed: refused, or linked and run within their bounds. Those
//! that answer requests are asked.
#![no_main]

use dunlin_fuzz::{guests, runs};
use dunlin_guests::component;
use dunlin_host::{Ended, FaultKind, Program, World};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let wasm = guests::module(data, component::ALL);
    let Ok(program) = Program::compile(&wasm, &runs::limits()) else { return };
    let ended = match program.world() {
        World::Preview1 | World::Command => runs::in_a_cage(&program, false),
        World::Http => runs::asked(&program, data),
    };
    match ended {
        Ended::Exited(_) => {}
        Ended::Fault(fault) => {
            assert!(!matches!(fault.kind, FaultKind::Other(_)), "a fault without a name: {fault}");
        }
        Ended::NotStarted(error) => panic!("{error}"),
    }
});

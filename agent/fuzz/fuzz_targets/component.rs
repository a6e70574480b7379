//! Any bytes, and real components with some bytes changed: refused, or linked and run within their bounds.
#![no_main]

use dunlin_fuzz::{guests, runs};
use dunlin_guests::component;
use dunlin_host::{Ended, FaultKind, Program};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let wasm = guests::module(data, component::ALL);
    let Ok(program) = Program::compile(&wasm, &runs::limits()) else { return };
    match runs::in_a_cage(&program, false) {
        Ended::Exited(_) => {}
        Ended::Fault(fault) => {
            assert!(!matches!(fault.kind, FaultKind::Other(_)), "a fault without a name: {fault}");
        }
        Ended::NotStarted(error) => panic!("{error}"),
    }
});

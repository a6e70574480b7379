//! Any bytes, and real guests with some bytes changed, as a module: refused, or run within its bounds.
#![no_main]

use dunlin_fuzz::{guests, runs};
use dunlin_host::{Ended, FaultKind, Program};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let wasm = guests::module(data, dunlin_guests::ALL);
    let Ok(program) = Program::compile(&wasm, &runs::limits()) else { return };
    match runs::in_a_cage(&program, false) {
        Ended::Exited(_) => {}
        Ended::Fault(fault) => {
            assert!(!matches!(fault.kind, FaultKind::Other(_)), "a fault without a name: {fault}");
        }
        Ended::NotStarted(error) => panic!("{error}"),
    }
});

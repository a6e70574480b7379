//! Any host functions, with any arguments, over any memory: an error number each, and the host whole.
#![no_main]

use dunlin_fuzz::{calls, runs};
use dunlin_host::{Ended, FaultKind, Program};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (wasm, sockets) = calls::module(data);
    let program = Program::compile(&wasm, &runs::limits()).expect("the module is well made");
    match runs::in_a_cage(&program, sockets) {
        Ended::Exited(_) => {}
        // It waits for what never comes.
        Ended::Fault(fault) => assert!(matches!(fault.kind, FaultKind::WallClock { .. }), "{fault}"),
        Ended::NotStarted(error) => panic!("{error}"),
    }
});

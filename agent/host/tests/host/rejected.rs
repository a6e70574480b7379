//! What cannot be started is refused with its own reason.

use std::time::Duration;

use proptest::prelude::*;

use crate::common::{compile_wat, soon};
use dunlin_host::{Ended, FaultKind, Guest, Limits, Program, Rejected};

fn rejected(wasm: &[u8]) -> Rejected {
    Program::compile(wasm, &Limits::default()).unwrap_err()
}

fn rejected_wat(text: &str) -> Rejected {
    rejected(&wat::parse_str(text).unwrap())
}

#[test]
fn what_is_not_wasm() {
    assert_eq!(rejected(b""), Rejected::NotWasm);
    assert_eq!(rejected(b"\0as"), Rejected::NotWasm);
    assert_eq!(rejected(b"\x7fELF\x02\x01\x01\0"), Rejected::NotWasm);
    // The text format is no module either.
    assert_eq!(rejected(b"(module)"), Rejected::NotWasm);
}

#[test]
#[cfg(not(feature = "components"))]
fn a_component() {
    assert_eq!(rejected_wat("(component)"), Rejected::Component);
}

#[test]
fn what_is_cut_short() {
    let whole = dunlin_guests::HELLO.bytes;
    // Shorter than the last section, which holds names and may be cut.
    for len in (4..whole.len() * 3 / 4).step_by(997) {
        let reason = rejected(&whole[..len]);
        assert!(matches!(reason, Rejected::Invalid(_) | Rejected::NoStart), "cut to {len} bytes: {reason}");
    }
}

#[test]
fn an_import_that_is_not_there() {
    let reason = rejected_wat(r#"(module (import "env" "foo" (func)) (func (export "_start")))"#);
    assert_eq!(reason, Rejected::UnknownImport { module: "env".into(), name: "foo".into() });
    assert!(reason.to_string().starts_with("imports env.foo, which this host does not have"));

    let memory = rejected_wat(r#"(module (import "env" "memory" (memory 1)) (func (export "_start")))"#);
    assert_eq!(memory, Rejected::UnknownImport { module: "env".into(), name: "memory".into() });
}

#[test]
fn an_import_of_another_type() {
    let reason = rejected_wat(
        r#"(module
             (import "wasi_snapshot_preview1" "fd_close" (func (param i64) (result i32)))
             (func (export "_start")))"#,
    );
    let Rejected::WrongImportType { wanted, offered, .. } = reason else { panic!("{reason}") };
    assert_eq!((wanted.as_str(), offered.as_str()), ("(i64) -> i32", "(i32) -> i32"));
}

#[test]
fn a_library() {
    assert_eq!(rejected_wat("(module)"), Rejected::NoStart);
    assert_eq!(rejected_wat(r#"(module (func (export "_start") (param i32)))"#), Rejected::NoStart);
    assert_eq!(rejected_wat(r#"(module (memory (export "_start") 1))"#), Rejected::NoStart);
}

#[test]
fn a_start_section() {
    let reason = rejected_wat(r#"(module (func $f) (func (export "_start")) (start $f))"#);
    assert_eq!(reason, Rejected::StartSection);
}

#[test]
fn more_memory_than_it_may_have() {
    let text = r#"(module (memory 257) (func (export "_start")))"#;
    let limit_bytes = 16 * 1024 * 1024;
    let needed_bytes = 257 * 64 * 1024;
    assert_eq!(rejected_wat(text), Rejected::TooMuchMemory { needed_bytes, limit_bytes });

    let enough = Limits { memory_bytes: 17 * 1024 * 1024, ..Limits::default() };
    assert!(Program::compile(&wat::parse_str(text).unwrap(), &enough).is_ok());
}

#[test]
fn larger_tables_and_more_of_them() {
    let large = rejected_wat(r#"(module (table 65537 funcref) (func (export "_start")))"#);
    assert_eq!(large, Rejected::TooLargeTable { needed: 65_537, limit: 65_536 });

    let many = rejected_wat(&format!(r#"(module {} (func (export "_start")))"#, "(table 1 funcref)".repeat(9)));
    assert_eq!(many, Rejected::TooManyTables { needed: 9, limit: 8 });
}

/// What was allowed when it was compiled can be more than a run may have.
#[tokio::test]
async fn a_run_may_have_less() {
    let fault = async |text: &str, limits: Limits| {
        let guest = Guest { limits, ..Guest::default() };
        match soon(dunlin_host::run(&compile_wat(text), guest)).await {
            Ended::Fault(fault) => fault,
            ended @ (Ended::Exited(_) | Ended::NotStarted(_)) => panic!("{ended:?}"),
        }
    };
    let limits = Limits { memory_bytes: 64 * 1024, ..Limits::default() };
    let memory = fault(r#"(module (memory 2) (func (export "_start")))"#, limits).await;
    let (wanted_bytes, limit_bytes) = (128 * 1024, 64 * 1024);
    assert_eq!(memory.kind, FaultKind::MemoryLimit { wanted_bytes, limit_bytes });
    let sentence = "out of memory: asked for 128 KiB in all, may have 64 KiB, before its first host call";
    assert_eq!(memory.to_string(), sentence);

    let limits = Limits { table_elements: 9, ..Limits::default() };
    let table = fault(r#"(module (table 10 funcref) (func (export "_start")))"#, limits).await;
    assert!(matches!(table.kind, FaultKind::Setup(_)), "{table}");
}

/// A module that contradicts itself is valid, and ends before its first instruction.
#[tokio::test]
async fn segments_that_do_not_fit() {
    let fault = async |text: &str| match soon(dunlin_host::run(&compile_wat(text), Guest::default())).await {
        Ended::Fault(fault) => fault,
        ended @ (Ended::Exited(_) | Ended::NotStarted(_)) => panic!("{ended:?}"),
    };
    let data = fault(r#"(module (memory 1) (data (i32.const 65535) "ab") (func (export "_start")))"#).await;
    assert_eq!((data.kind, data.last_call), (FaultKind::MemoryOutOfBounds, None));
    let elements = fault(r#"(module (table 1 funcref) (elem (i32.const 1) 0) (func (export "_start")))"#).await;
    assert!(matches!(elements.kind, FaultKind::Setup(_)), "{elements}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// A program with some of its bytes changed: refused, or it runs and ends, and nothing panics.
    #[test]
    fn a_damaged_module(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut wasm = dunlin_guests::ENV.bytes.to_vec();
        for (at, byte) in changes {
            *at.get_mut(&mut wasm[8..]) = byte;
        }
        let limits = Limits { wall_clock: Some(Duration::from_millis(100)), ..Limits::default() };
        if let Ok(program) = Program::compile(&wasm, &limits) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let guest = Guest { limits, ..Guest::default() };
            let ended = runtime.block_on(soon(dunlin_host::run(&program, guest)));
            prop_assert!(!matches!(ended, Ended::NotStarted(_)), "{ended:?}");
        }
    }
}

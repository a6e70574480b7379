//! One guest for each line of the interpreter's configuration that is there for correctness: it
//! gives a wrong result, or none, without the line (see `engine`, `quota` and `run`).

use crate::common::{compile_wat, soon};
use dunlin_host::{Ended, Guest, Limits, Program};

/// Slices so small that every guest runs out of fuel wherever it can.
fn tiny_slices() -> Limits {
    Limits { fuel_slice: 8, ..Limits::default() }
}

async fn run(program: &Program, limits: Limits) -> Ended {
    soon(dunlin_host::run(program, Guest { limits, ..Guest::default() })).await
}

#[track_caller]
fn exited(ended: &Ended, code: u32) {
    assert!(matches!(ended, Ended::Exited(got) if *got == code), "{ended:?}");
}

const IMPORTS: &str = r#"
    (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))"#;

#[tokio::test]
async fn a_suspended_call_keeps_its_locals_and_its_stack() {
    let program = compile_wat(&format!(
        r#"(module {IMPORTS}
             (func $deep (param $n i32) (result i32)
               (if (result i32) (local.get $n)
                 (then (i32.add
                   (local.get $n)
                   (i32.add (call $yield) (call $deep (i32.sub (local.get $n) (i32.const 1))))))
                 (else (call $yield))))
             (func (export "_start") (call $exit (call $deep (i32.const 100)))))"#
    ));
    exited(&run(&program, Limits::default()).await, 5050);
    exited(&run(&program, tiny_slices()).await, 5050);
}

/// `Config::wasm_tail_call(false)`. Refusing the module is right as well.
#[tokio::test]
async fn a_tail_call_into_a_suspending_function_is_right_or_refused() {
    let wasm = wat::parse_str(format!(
        r#"(module {IMPORTS}
             (func $inner (param i32 i32 i32) (result i32) (return_call $yield))
             (func $outer (result i32)
               (i32.add (call $inner (i32.const 1) (i32.const 1) (i32.const 1)) (i32.const 6)))
             (func (export "_start") (call $exit (call $outer))))"#
    ))
    .unwrap();
    if let Ok(program) = Program::compile(&wasm, &Limits::default()) {
        exited(&run(&program, Limits::default()).await, 6);
    }
}

/// `Quota::table_growing` after the start.
#[tokio::test]
async fn growing_a_table_replays_nothing() {
    let program = compile_wat(&format!(
        r#"(module {IMPORTS}
             (table $t 1 100000 funcref)
             (global $turns (mut i32) (i32.const 0))
             (func (export "_start")
               (local $left i32)
               (local.set $left (i32.const 50))
               (loop $again
                 (global.set $turns (i32.add (global.get $turns) (i32.const 1)))
                 (drop (table.grow $t (ref.null func) (i32.const 1000)))
                 (local.set $left (i32.sub (local.get $left) (i32.const 1)))
                 (br_if $again (local.get $left)))
               (call $exit (global.get $turns))))"#
    ));
    exited(&run(&program, tiny_slices()).await, 50);
}

/// A table that starts empty cannot be filled later either.
#[tokio::test]
async fn an_empty_table_does_not_grow() {
    let program = compile_wat(&format!(
        r#"(module {IMPORTS}
             (table $t 0 100 funcref)
             (func (export "_start")
               (call $exit (table.grow $t (ref.null func) (i32.const 1)))))"#
    ));
    exited(&run(&program, Limits::default()).await, u32::MAX);
}

/// `Config::fuel_cost` of translation.
#[tokio::test]
async fn running_out_of_fuel_in_a_translation_is_survived() {
    let program = compile_wat(&format!(
        r#"(module {IMPORTS}
             (func $large (param i32) (result i32) (local.get 0) {})
             (func (export "_start") (call $exit (call $large (i32.const 0)))))"#,
        "(i32.const 1) (i32.add)".repeat(10_000)
    ));
    exited(&run(&program, tiny_slices()).await, 10_000);
}

/// `Run::refuel` with at least what is required.
#[tokio::test]
async fn a_bulk_operation_larger_than_a_slice_is_done() {
    let program = compile_wat(&format!(
        r#"(module {IMPORTS}
             (memory (export "memory") 32)
             (func (export "_start")
               (memory.fill (i32.const 0) (i32.const 7) (i32.const 2097152))
               (memory.copy (i32.const 0) (i32.const 1048576) (i32.const 1048576))
               (call $exit (i32.load8_u (i32.const 2097151)))))"#
    ));
    exited(&run(&program, tiny_slices()).await, 7);
}

/// Memory does grow, while fuel runs out in it.
#[tokio::test]
async fn growing_a_memory_replays_nothing() {
    let program = compile_wat(&format!(
        r#"(module {IMPORTS}
             (memory (export "memory") 1)
             (global $turns (mut i32) (i32.const 0))
             (func (export "_start")
               (local $left i32)
               (local.set $left (i32.const 50))
               (loop $again
                 (global.set $turns (i32.add (global.get $turns) (i32.const 1)))
                 (drop (memory.grow (i32.const 2)))
                 (local.set $left (i32.sub (local.get $left) (i32.const 1)))
                 (br_if $again (local.get $left)))
               (call $exit (i32.add (i32.mul (global.get $turns) (i32.const 1000)) (memory.size)))))"#
    ));
    exited(&run(&program, tiny_slices()).await, 50_101);
}

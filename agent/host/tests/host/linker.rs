//! Components written by hand: how they are wired up, and which are refused.

use dunlin_host::{Ended, FaultKind, Limits, Program, Rejected};

use crate::common::{compile_wat, run};

/// A component whose core module exports `run`, with something before it and more in it.
fn component(before: &str, core: &str, arguments: &str) -> String {
    format!(
        r#"(component
             {before}
             (core module $main {core})
             (core instance $main (instantiate $main {arguments}))
             (func $run (result (result)) (canon lift (core func $main "run")))
             (instance $exports (export "run" (func $run)))
             (export "wasi:cli/run@0.2.3" (instance $exports)))"#
    )
}

async fn ended(text: &str) -> Ended {
    run(&compile_wat(text), &["test"]).await.0
}

#[track_caller]
fn rejected(text: &str) -> Rejected {
    Program::compile(&wat::parse_str(text).unwrap(), &Limits::default()).unwrap_err()
}

#[track_caller]
fn exited(ended: &Ended, code: u32) {
    assert!(matches!(ended, Ended::Exited(got) if *got == code), "{ended:?}");
}

#[track_caller]
fn broke(ended: &Ended, rule: &str) {
    let Ended::Fault(fault) = ended else { panic!("{ended:?}") };
    assert_eq!(fault.kind.to_string(), rule);
    assert!(matches!(fault.kind, FaultKind::BrokenRule { .. }));
}

const OK: &str = r#"(func (export "run") (result i32) (i32.const 0))"#;

#[tokio::test]
async fn what_run_returns_is_how_it_ends() {
    exited(&ended(&component("", OK, "")).await, 0);
    exited(&ended(&component("", &OK.replace('0', "1"), "")).await, 1);
}

#[tokio::test]
async fn a_result_is_freed_by_post_return() {
    // The global is what the next instance's start function finds, if it ever ran.
    let text = r#"(component
        (core module $main
          (func (export "run") (result i32) (i32.const 0))
          (func (export "after") (param i32) unreachable))
        (core instance $main (instantiate $main))
        (func $run (result (result)) (canon lift (core func $main "run") (post-return (core func $main "after"))))
        (instance $exports (export "run" (func $run)))
        (export "wasi:cli/run@0.2.0" (instance $exports)))"#;
    let Ended::Fault(fault) = ended(text).await else { panic!("it was not called") };
    assert_eq!(fault.kind, FaultKind::Unreachable);
}

#[tokio::test]
async fn a_nested_component_may_rename_what_is_exported() {
    let text = r#"(component
        (core module $main (func (export "run") (result i32) (i32.const 1)))
        (core instance $main (instantiate $main))
        (func $run (result (result)) (canon lift (core func $main "run")))
        (component $shim
          (import "import-run" (func $run (result (result))))
          (export "run" (func $run)))
        (instance $exports (instantiate $shim (with "import-run" (func $run))))
        (export "wasi:cli/run@0.2.6" (instance $exports)))"#;
    exited(&ended(text).await, 1);
}

#[tokio::test]
async fn modules_are_instantiated_in_order_and_start_functions_run() {
    let text = r#"(component
        (core module $counter
          (global $n (mut i32) (i32.const 0))
          (func (export "add") (param i32) (global.set $n (i32.add (global.get $n) (local.get 0))))
          (func (export "sum") (result i32) (global.get $n)))
        (core module $adds (import "c" "add" (func $add (param i32))) (func $s (call $add (i32.const 3))) (start $s))
        (core module $asks
          (import "c" "sum" (func $sum (result i32)))
          (func (export "run") (result i32) (i32.ne (call $sum) (i32.const 6))))
        (core instance $c (instantiate $counter))
        (core instance (instantiate $adds (with "c" (instance $c))))
        (core instance (instantiate $adds (with "c" (instance (export "add" (func $c "add"))))))
        (core instance $main (instantiate $asks (with "c" (instance $c))))
        (func $run (result (result)) (canon lift (core func $main "run")))
        (instance $exports (export "run" (func $run)))
        (export "wasi:cli/run@0.2.0" (instance $exports)))"#;
    exited(&ended(text).await, 0);
}

const EXIT: &str = r#"(import "wasi:cli/exit@0.2.VERSION" (instance $exit
    (export "exit" (func (param "status" (result))))
    (export "exit-with-code" (func (param "status-code" u8)))))
  (core func $exit (canon lower (func $exit "exit-with-code")))"#;

#[tokio::test]
async fn every_version_of_0_2_is_the_same() {
    let core = r#"(import "w" "exit" (func $exit (param i32))) (func (export "run") (result i32)
        (call $exit (i32.const 263)) unreachable)"#;
    for version in ["0", "6", "12", "99"] {
        let text =
            component(&EXIT.replace("VERSION", version), core, r#"(with "w" (instance (export "exit" (func $exit))))"#);
        // A byte is the low eight bits of its cell.
        exited(&ended(&text).await, 7);
    }
}

const RESOURCE: &str = r#"
    (core module $dtor-module
      (global (export "dropped") (mut i32) (i32.const 0))
      (func (export "dtor") (param i32) (global.set 0 (i32.add (global.get 0) (local.get 0)))))
    (core instance $d (instantiate $dtor-module))
    (type $r (resource (rep i32) (dtor (core func $d "dtor"))))
    (type $other (resource (rep i32)))
    (core func $new (canon resource.new $r))
    (core func $rep (canon resource.rep $r))
    (core func $drop (canon resource.drop $r))
    (core func $drop-other (canon resource.drop $other))"#;
const WITH_RESOURCE: &str = r#"(with "r" (instance (export "new" (func $new)) (export "rep" (func $rep))
    (export "drop" (func $drop)) (export "drop-other" (func $drop-other)) (export "dropped" (global $d "dropped"))))"#;
const RESOURCE_IMPORTS: &str = r#"
    (import "r" "new" (func $new (param i32) (result i32))) (import "r" "rep" (func $rep (param i32) (result i32)))
    (import "r" "drop" (func $drop (param i32))) (import "r" "drop-other" (func $drop-other (param i32)))
    (import "r" "dropped" (global $dropped (mut i32))) (global $h (mut i32) (i32.const 0))"#;

fn with_resources(body: &str) -> String {
    let core = format!(r#"{RESOURCE_IMPORTS} (func (export "run") (result i32) {body} (i32.const 0))"#);
    component(RESOURCE, &core, WITH_RESOURCE)
}

#[tokio::test]
async fn a_components_own_resources() {
    let used = "(global.set $h (call $new (i32.const 41)))
        (if (i32.eqz (global.get $h)) (then unreachable))
        (if (i32.eq (call $new (i32.const 7)) (global.get $h)) (then unreachable))
        (if (i32.ne (call $rep (global.get $h)) (i32.const 41)) (then unreachable))
        (call $drop (global.get $h))
        (if (i32.ne (global.get $dropped) (i32.const 41)) (then unreachable))";
    exited(&ended(&with_resources(used)).await, 0);
    const RULE: &str = "used a handle that is not open, or of another type";
    for broken in [
        "(call $drop (i32.const 0))",
        "(call $drop (i32.const 77))",
        "(call $drop (call $rep (i32.const -1)))",
        "(call $drop-other (call $new (i32.const 1)))",
        "(global.set $h (call $new (i32.const 1))) (call $drop (global.get $h)) (call $drop (global.get $h))",
    ] {
        broke(&ended(&with_resources(broken)).await, RULE);
    }
}

/// A component that asks for its arguments, with an allocator and a caller of its own.
fn asking(realloc: &str, run: &str) -> String {
    component(
        &format!(
            r#"(import "wasi:cli/environment@0.2.0" (instance $env
                 (export "get-arguments" (func (result (list string))))))
               (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock (export "now" (func (result u64)))))
               (core func $now (canon lower (func $clock "now")))
               (core module $libc
                 (import "w" "now" (func $now (result i64)))
                 (memory (export "memory") 1)
                 (func (export "realloc") (param i32 i32 i32 i32) (result i32) {realloc}))
               (core instance $libc (instantiate $libc (with "w" (instance (export "now" (func $now))))))
               (core func $args (canon lower (func $env "get-arguments")
                 (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))"#
        ),
        &format!(
            r#"(import "libc" "memory" (memory 1)) (import "w" "args" (func $args (param i32)))
               (func (export "run") (result i32) {run})"#
        ),
        r#"(with "libc" (instance $libc)) (with "w" (instance (export "args" (func $args))))"#,
    )
}

#[tokio::test]
async fn results_lie_where_the_canonical_options_say() {
    // One argument, "test": its list at 1024, its text at 1024 as well would be an allocator's mistake.
    let realloc =
        "(if (result i32) (i32.eq (local.get 2) (i32.const 1)) (then (i32.const 2000)) (else (i32.const 1024)))";
    let check = r#"(call $args (i32.const 16))
        (if (i32.ne (i32.load (i32.const 16)) (i32.const 1024)) (then unreachable))
        (if (i32.ne (i32.load (i32.const 20)) (i32.const 1)) (then unreachable))
        (if (i32.ne (i32.load (i32.const 1024)) (i32.const 2000)) (then unreachable))
        (if (i32.ne (i32.load (i32.const 1028)) (i32.const 4)) (then unreachable))
        (i32.ne (i32.load (i32.const 2000)) (i32.const 0x74736574))"#;
    exited(&ended(&asking(realloc, check)).await, 0);
}

#[tokio::test]
async fn an_allocator_cannot_do_as_it_likes() {
    let call = "(call $args (i32.const 16)) (i32.const 0)";
    for (realloc, rule) in [
        ("(loop (br 0)) unreachable", "took too long to allocate memory"),
        ("(i32.wrap_i64 (call $now))", "called the host while it was asked for memory, or dropped what it owns"),
        ("(i32.const 1026)", "a pointer in an argument is not aligned"),
        ("(i32.const 65536)", "an argument leads out of its memory"),
        ("(i32.const -4)", "an argument leads out of its memory"),
    ] {
        broke(&ended(&asking(realloc, call)).await, rule);
    }
    let Ended::Fault(fault) = ended(&asking("unreachable", call)).await else { panic!("it goes on") };
    assert_eq!((fault.kind, fault.last_call), (FaultKind::Unreachable, Some("get-arguments")));
    for at in [17, 65_532, -4] {
        let call = format!("(call $args (i32.const {at})) (i32.const 0)");
        let Ended::Fault(fault) = ended(&asking("(i32.const 1024)", &call)).await else { panic!("{at}") };
        assert!(matches!(fault.kind, FaultKind::BrokenRule { .. }), "{at}: {fault}");
    }
}

#[test]
fn libraries_and_what_is_no_component() {
    assert_eq!(rejected("(component)"), Rejected::NoEntry);
    let library = r#"(component (core module $m (func (export "f"))) (core instance $m (instantiate $m))
        (func (export "f") (canon lift (core func $m "f"))))"#;
    assert_eq!(rejected(library), Rejected::NoEntry);
    let other_type = r#"(component (core module $m (func (export "run"))) (core instance $m (instantiate $m))
        (func $run (canon lift (core func $m "run"))) (instance $i (export "run" (func $run)))
        (export "wasi:cli/run@0.2.0" (instance $i)))"#;
    assert_eq!(rejected(other_type), Rejected::NoEntry);
    let other_version = component("", OK, "").replace("@0.2.3", "@0.1.0");
    assert_eq!(rejected(&other_version), Rejected::NoEntry);
}

#[test]
fn imports_that_are_not_there() {
    let refused = |before: &str| rejected(&component(before, OK, ""));
    for name in ["wasi:nn/graph@0.2.0", "wasi:cli/exit@0.1.0", "wasi:cli/exit@0.2.0-rc-2023-11-10", "my:own/thing"] {
        let reason = refused(&format!(r#"(import "{name}" (instance (export "f" (func))))"#));
        assert_eq!(reason, Rejected::UnknownInterface { name: name.to_owned() });
    }
    assert_eq!(refused(r#"(import "f" (func))"#), Rejected::UnknownInterface { name: "f".into() });
    let unknown = refused(
        r#"(import "wasi:cli/exit@0.2.0" (instance $e (export "leave" (func)))) (core func (canon lower (func $e "leave")))"#,
    );
    assert_eq!(unknown, Rejected::UnknownFunction { interface: "wasi:cli/exit", name: "leave".into() });
    assert!(unknown.to_string().starts_with("imports leave from wasi:cli/exit, which this host does not have in it"));
    let named = refused(
        r#"(import "wasi:io/streams@0.2.0" (instance $s (export "other" (type $t (sub resource)))))
           (alias export $s "other" (type $t)) (core func (canon resource.drop $t))"#,
    );
    assert_eq!(named, Rejected::UnknownInterface { name: "wasi:io/streams, resource other".into() });
}

#[test]
fn imports_of_another_type() {
    for declared in [
        "(func)",
        "(func (param \"status-code\" u16))",
        "(func (param \"status-code\" u8) (param \"more\" u8))",
        "(func (param \"status-code\" u8) (result u8))",
        "(func (param \"status-code\" (tuple u8)))",
    ] {
        let before = format!(
            r#"(import "wasi:cli/exit@0.2.0" (instance $e (export "exit-with-code" {declared})))
               (core func (canon lower (func $e "exit-with-code")))"#
        );
        let expected = Rejected::WrongFunctionType { interface: "wasi:cli/exit", name: "exit-with-code" };
        assert_eq!(rejected(&component(&before, OK, "")), expected, "{declared}");
    }
}

#[test]
fn texts_in_other_encodings() {
    for encoding in ["utf16", "latin1+utf16"] {
        let text = asking("unreachable", "unreachable").replace(
            r#"(canon lower (func $env "get-arguments")"#,
            &format!(r#"(canon lower (func $env "get-arguments") string-encoding={encoding}"#),
        );
        assert_eq!(rejected(&text), Rejected::StringEncoding { encoding });
    }
}

#[test]
fn what_is_composed_or_asynchronous() {
    let composed = component(
        "(component $inner (core module $m) (core instance (instantiate $m))) (instance (instantiate $inner))",
        OK,
        "",
    );
    assert_eq!(rejected(&composed), Rejected::ComposedComponent);
    let deep = format!("(component {} {})", "(component".repeat(50), ")".repeat(50));
    assert_eq!(rejected(&deep), Rejected::ComposedComponent);
    let to_itself = r#"(component (core module $m (func (export "run") (result i32) (i32.const 0)))
        (core instance $m (instantiate $m)) (func $f (result (result)) (canon lift (core func $m "run")))
        (core func (canon lower (func $f))))"#;
    assert_eq!(rejected(to_itself), Rejected::ComposedComponent);
    let next = component(r#"(import "wasi:cli/exit@0.3.0" (instance (export "exit" (func))))"#, OK, "");
    assert_eq!(rejected(&next), Rejected::AsyncComponent);
    let stream =
        component(r#"(import "wasi:io/streams@0.3.1" (instance (export "f" (func (param "s" (stream u8))))))"#, OK, "");
    assert_eq!(rejected(&stream), Rejected::AsyncComponent);
}

#[test]
fn a_core_module_that_could_not_run_alone_either() {
    let much = component("", &format!("{OK} (memory 65536)"), "");
    assert!(matches!(rejected(&much), Rejected::TooMuchMemory { .. }));
    let many = component(&format!("(core module $m) {}", "(core instance (instantiate $m)) ".repeat(200)), OK, "");
    assert_eq!(rejected(&many), Rejected::TooManyInstances { limit: 128 });
}

#[tokio::test]
async fn all_memories_together_are_bounded() {
    let text = component(
        "(core module $m (memory 200)) (core instance (instantiate $m)) (core instance (instantiate $m))",
        OK,
        "",
    );
    let Ended::Fault(fault) = ended(&text).await else { panic!("25 MiB of 16") };
    assert!(matches!(fault.kind, FaultKind::MemoryLimit { .. }), "{fault}");
}

//! The interpreter's configuration, and modules compiled with it.
//!
//! wasmi 2.0 suspends and resumes calls correctly only under the configuration below. Each line of
//! it that is there for correctness has a regression guest in `tests/host/wasmi.rs`, which gives
//! a wrong result without the line. When one of them passes without it, the line can go.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use wasmi::{CompilationMode, Config, CustomFuelCosts, Engine, ExternType, Module};
use wasmparser::{Parser, Payload};

use crate::buffers;
use crate::p1::Imports;
#[cfg(feature = "components")]
use crate::p2;
use crate::quota::{Limits, TABLES_MAX};
use crate::rejected::Rejected;

/// A compiled module, ready to start any number of times. Cheap to clone.
#[derive(Clone)]
pub struct Program {
    inner: Arc<Compiled>,
}

/// A program for as long as somebody has it. On its own it keeps nothing of it.
#[derive(Clone, Default)]
pub struct WeakProgram {
    inner: Weak<Compiled>,
}

/// What lies between a program and its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum World {
    /// A core module that is [run](crate::run), with `wasi_snapshot_preview1`.
    Preview1,
    /// A component that is [run](crate::run): `wasi:cli/command` of WASI 0.2.
    Command,
    /// A component that [answers HTTP requests](crate::http::Handler): `wasi:http/proxy` of WASI 0.2.
    Http,
}

struct Compiled {
    // One engine for each program: wasmi's code map only grows, so dropping the engine is the
    // only way to get a module's memory back.
    engine: Engine,
    code: Code,
    call_depth: usize,
    stack_bytes: usize,
    given_back: AtomicBool,
}

/// What a program is made of.
pub(crate) enum Code {
    /// One core module, for preview 1.
    Module { module: Module, imports: Imports },
    /// A component, for WASI 0.2.
    #[cfg(feature = "components")]
    Component(p2::Plan),
}

impl Program {
    /// Checks and compiles a core module or a component.
    ///
    /// CPU-bound, about 0.4 ms for each 50 KiB on a PC: call it on a blocking thread. What the
    /// module declares is checked against `limits`, and what it imports against the
    /// [table of functions](crate::functions).
    ///
    /// # Errors
    ///
    /// Says why these bytes cannot be started, and the way out.
    pub fn compile(wasm: &[u8], limits: &Limits) -> Result<Self, Rejected> {
        let engine = Engine::new(&config(limits));
        let code = if Parser::is_component(wasm) {
            compile_component(&engine, wasm, limits)?
        } else {
            Self::compile_module(&engine, wasm, limits)?
        };
        let Limits { call_depth, stack_bytes, .. } = *limits;
        Ok(Self {
            inner: Arc::new(Compiled { engine, code, call_depth, stack_bytes, given_back: AtomicBool::new(false) }),
        })
    }

    fn compile_module(engine: &Engine, wasm: &[u8], limits: &Limits) -> Result<Code, Rejected> {
        check_declarations(wasm, limits)?;
        let module = Module::new(engine, wasm).map_err(|error| Rejected::Invalid(error.to_string()))?;
        match module.get_export("_start") {
            Some(ExternType::Func(ty)) if ty.params().is_empty() && ty.results().is_empty() => {}
            _ => return Err(Rejected::NoStart),
        }
        let imports = Imports::of(&module)?;
        Ok(Code::Module { module, imports })
    }

    /// What it is for.
    pub fn world(&self) -> World {
        match &self.inner.code {
            Code::Module { .. } => World::Preview1,
            #[cfg(feature = "components")]
            Code::Component(plan) => plan.world(),
        }
    }

    /// Gives back what the interpreter keeps for translating more of it: tens of KiB, as its largest function took.
    ///
    /// What runs is not disturbed, and what it translates later takes new ones. It is done once, when most is
    /// translated: each time would leave a little behind.
    pub fn give_back(&self) {
        if !self.inner.given_back.swap(true, Ordering::Relaxed) {
            // It works by failing.
            let _ = buffers::give_back(&self.inner.engine);
        }
    }

    /// The same, without keeping it.
    pub fn downgrade(&self) -> WeakProgram {
        WeakProgram { inner: Arc::downgrade(&self.inner) }
    }

    /// Whether both are of one compilation, and cost no more than one.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    pub(crate) fn code(&self) -> &Code {
        &self.inner.code
    }

    pub(crate) fn call_depth(&self) -> usize {
        self.inner.call_depth
    }

    pub(crate) fn stack_bytes(&self) -> usize {
        self.inner.stack_bytes
    }
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Program").finish_non_exhaustive()
    }
}

impl WeakProgram {
    /// The program, if somebody still has it.
    pub fn upgrade(&self) -> Option<Program> {
        Some(Program { inner: self.inner.upgrade()? })
    }
}

impl std::fmt::Debug for WeakProgram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WeakProgram").finish_non_exhaustive()
    }
}

#[cfg(feature = "components")]
fn compile_component(engine: &Engine, wasm: &[u8], limits: &Limits) -> Result<Code, Rejected> {
    p2::compile(engine, wasm, limits).map(Code::Component)
}

#[cfg(not(feature = "components"))]
fn compile_component(_: &Engine, _: &[u8], _: &Limits) -> Result<Code, Rejected> {
    Err(Rejected::Component)
}

/// wasmi refuses a maximum below the stack's initial height, 1,000 bytes.
const STACK_BYTES_MIN: usize = 1_000;

pub(crate) fn config(limits: &Limits) -> Config {
    let mut config = Config::default();
    config
        // Correctness: a nested `return_call` to a host function that suspends resumes to a wrong
        // value.
        .wasm_tail_call(false)
        // Correctness: a start section runs plainly, and a host call in it could not suspend.
        // `check_declarations` says so in a sentence; this is what holds.
        .allow_start_fn(false)
        // Functions are validated at once and translated when they are first called: four times
        // quicker than eager compilation, and what is never called costs no memory.
        .compilation_mode(CompilationMode::LazyTranslation)
        // Correctness: running out of fuel inside a translation is not resumable, so that
        // translation is free. Copying costs what it does by default.
        .fuel_cost(CustomFuelCosts {
            bytes_copied_per_fuel: 64,
            fuel_per_bytes_translated: 0,
            fuel_per_bytes_validated: 0,
        })
        // Fuel is the only way to interrupt a guest.
        .consume_fuel(true)
        // A guest has one memory: host calls mean the one exported as `memory`.
        .wasm_multi_memory(false)
        .ignore_custom_sections(true)
        .set_max_recursion_depth(limits.call_depth)
        .set_max_stack_height(limits.stack_bytes.max(STACK_BYTES_MIN))
        // A finished guest's stack is freed, not kept for a next one that may never come.
        .set_max_cached_stacks(0);
    // Two more rules live where they are enforced: tables never grow after the start, because
    // running out of fuel in `table.grow` replays earlier code (`quota`); and refuelling gives at
    // least the fuel that the next step requires (`run`).
    //
    // wasmi's `EnforcedLimits::strict()` is not used: it allows a module 1,000 data segments, and a web
    // server in Go has 90,000. The size of a module is bounded where it comes from.
    config
}

/// Reads the sections that come before the code, and refuses what can never be started.
///
/// What is malformed is left to the compiler, which says where.
pub(crate) fn check_declarations(wasm: &[u8], limits: &Limits) -> Result<(), Rejected> {
    const MAGIC: &[u8] = b"\0asm";
    const PAGE_BYTES: u64 = 64 * 1024;

    if !wasm.starts_with(MAGIC) {
        return Err(Rejected::NotWasm);
    }
    for payload in Parser::new(0).parse_all(wasm) {
        match payload {
            Ok(Payload::MemorySection(memories)) => {
                for memory in memories.into_iter().flatten() {
                    let needed_bytes = memory.initial.saturating_mul(PAGE_BYTES);
                    if needed_bytes > limits.memory_bytes as u64 {
                        let limit_bytes = limits.memory_bytes;
                        return Err(Rejected::TooMuchMemory { needed_bytes, limit_bytes });
                    }
                }
            }
            Ok(Payload::TableSection(tables)) => {
                let needed = tables.count() as usize;
                if needed > TABLES_MAX {
                    return Err(Rejected::TooManyTables { needed, limit: TABLES_MAX });
                }
                for table in tables.into_iter().flatten() {
                    let needed = table.ty.initial;
                    if needed > limits.table_elements as u64 {
                        return Err(Rejected::TooLargeTable { needed, limit: limits.table_elements });
                    }
                }
            }
            Ok(Payload::StartSection { .. }) => return Err(Rejected::StartSection),
            Ok(Payload::CodeSectionStart { .. }) | Err(_) => break,
            Ok(_) => {}
        }
    }
    Ok(())
}

//! Why bytes cannot be started as a guest.

use thiserror::Error;

/// Why bytes cannot be started. Each sentence says the way out.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rejected {
    /// The bytes do not begin as WebAssembly does.
    #[error("not WebAssembly: the file does not begin with \"\\0asm\"; build it for the target wasm32-wasip1")]
    NotWasm,
    /// A component (WASI 0.2 and later), for a host that was built for core modules only.
    #[error(
        "a component, and this host was built without the feature \"components\"; build it for the target wasm32-wasip1"
    )]
    Component,
    /// A component of WASI 0.3.
    #[error(
        "an asynchronous component (WASI 0.3), which this host does not run; build it for WASI 0.2 (wasm32-wasip2)"
    )]
    AsyncComponent,
    /// A component that is made of several, with code in each.
    #[error("made of several components linked to each other, which this host does not run; build one of them")]
    ComposedComponent,
    /// A component that makes too many instances of core modules.
    #[error("makes more than {limit} instances of core modules; link it statically")]
    TooManyInstances {
        /// The limit.
        limit: usize,
    },
    /// A component whose texts are not UTF-8.
    #[error("passes texts as {encoding}, and this host takes UTF-8 only; build it with string-encoding=utf8")]
    StringEncoding {
        /// What it asks for.
        encoding: &'static str,
    },
    /// An interface, imported by a component, that this host does not have.
    #[error(
        "imports {name}, which this host does not have; it offers the worlds wasi:cli/command@0.2 and wasi:http/proxy@0.2"
    )]
    UnknownInterface {
        /// The interface, with its version.
        name: String,
    },
    /// A function that this host does not have in an interface.
    #[error("imports {name} from {interface}, which this host does not have in it; build it for an earlier WASI 0.2")]
    UnknownFunction {
        /// The interface.
        interface: &'static str,
        /// The function.
        name: String,
    },
    /// A function of an interface with another type than the interface gives it.
    #[error(
        "imports {name} from {interface} with another type than WASI 0.2 gives it; rebuild it with current bindings"
    )]
    WrongFunctionType {
        /// The interface.
        interface: &'static str,
        /// The function.
        name: &'static str,
    },
    /// A component that exports neither `wasi:cli/run` nor `wasi:http/incoming-handler`.
    #[error(
        "exports neither wasi:cli/run@0.2 nor wasi:http/incoming-handler@0.2: it is a library; build a program (in Rust: a bin crate), or what answers HTTP requests"
    )]
    NoEntry,
    /// Malformed, or uses a feature that this host does not have.
    #[error("not a valid module: {0}")]
    Invalid(String),
    /// An import that this host does not have.
    #[error(
        "imports {module}.{name}, which this host does not have; it offers WASI preview 1 (wasi_snapshot_preview1)"
    )]
    UnknownImport {
        /// The import's module.
        module: String,
        /// The import's name in it.
        name: String,
    },
    /// An import that this host has with another type.
    #[error(
        "imports {module}.{name} as {wanted}, but this host has it as {offered}; rebuild it with a current WASI toolchain"
    )]
    WrongImportType {
        /// The import's module.
        module: String,
        /// The import's name in it.
        name: String,
        /// What the module declares.
        wanted: String,
        /// What the table holds.
        offered: String,
    },
    /// No function `_start` without parameters and results.
    #[error(
        "exports no function _start: it is a library, not a program; build a binary (in Rust: a bin crate, not a cdylib)"
    )]
    NoStart,
    /// A start section, which would run code while the module is being set up.
    #[error(
        "has a start section, which runs before the program can be suspended; export its function as _start instead"
    )]
    StartSection,
    /// The memory that it declares is above the limit.
    #[error(
        "needs {} KiB of memory to start, and may have {} KiB; raise its memory limit, or link it with a smaller stack (-zstack-size)",
        needed_bytes.div_ceil(1024),
        limit_bytes / 1024
    )]
    TooMuchMemory {
        /// The initial size that the module declares.
        needed_bytes: u64,
        /// The limit.
        limit_bytes: usize,
    },
    /// A table that it declares is above the limit.
    #[error("declares a table of {needed} elements, and may have {limit}")]
    TooLargeTable {
        /// The initial size that the module declares.
        needed: u64,
        /// The limit.
        limit: usize,
    },
    /// More tables than a guest may have.
    #[error("declares {needed} tables, and may have {limit}")]
    TooManyTables {
        /// How many it declares.
        needed: usize,
        /// The limit.
        limit: usize,
    },
}

//! How a guest ends by its own fault.

use std::fmt;
use std::time::Duration;

/// The guest's own fault: what it did, and what is known of where.
///
/// The interpreter does not say which function trapped. What can be said is which host call came
/// last before it, and what the guest wrote to stderr last: for a Rust panic that is the message
/// with its file and line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What happened.
    pub kind: FaultKind,
    /// The host call that came last before it. `None`: there was none.
    pub last_call: Option<&'static str>,
    /// The end of what it wrote to stderr: whole lines, where they are not too long.
    pub last_words: String,
}

/// What a guest did that ended it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultKind {
    /// Ran into `unreachable`: what an abort or a panic compiles to.
    Unreachable,
    /// Ran into `unreachable` after it was refused memory.
    MemoryLimit {
        /// The size it asked for.
        wanted_bytes: usize,
        /// The size it may have.
        limit_bytes: usize,
    },
    /// Accessed memory that it does not have.
    MemoryOutOfBounds,
    /// Accessed a table element that does not exist, or called a function pointer beyond the table.
    TableOutOfBounds,
    /// Called a null function pointer.
    NullCall,
    /// Called a function pointer of another type.
    WrongCallType,
    /// Divided an integer by zero.
    DivideByZero,
    /// Overflowed an integer division.
    IntegerOverflow,
    /// Converted a number that no integer can hold.
    BadConversion,
    /// Recursed too deeply.
    StackOverflow {
        /// The number of calls that may be open at once.
        depth_limit: usize,
        /// The bytes that their values may take.
        bytes_limit: usize,
    },
    /// The machine had no more memory to give.
    HostMemory,
    /// Broke a rule of the component model or of WASI 0.2.
    BrokenRule {
        /// What it did.
        what: &'static str,
    },
    /// Ran longer than it may.
    WallClock {
        /// How long it may run.
        limit: Duration,
    },
    /// The module contradicts itself: data outside its memory, for example.
    Setup(String),
    /// The interpreter gave up in a way that has no name of its own.
    Other(String),
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable => f.write_str("aborted (it ran into `unreachable`)"),
            Self::MemoryLimit { wanted_bytes, limit_bytes } => {
                let (wanted, limit) = (wanted_bytes.div_ceil(1024), limit_bytes / 1024);
                write!(f, "out of memory: asked for {wanted} KiB in all, may have {limit} KiB")
            }
            Self::MemoryOutOfBounds => {
                f.write_str("accessed memory that it does not have (a wild pointer, or a stack overflow)")
            }
            Self::TableOutOfBounds => f.write_str("used a function pointer beyond its table"),
            Self::NullCall => f.write_str("called a null function pointer"),
            Self::WrongCallType => f.write_str("called a function pointer of another type"),
            Self::DivideByZero => f.write_str("divided an integer by zero"),
            Self::IntegerOverflow => f.write_str("overflowed an integer division"),
            Self::BadConversion => f.write_str("converted a number that no integer can hold"),
            Self::StackOverflow { depth_limit, bytes_limit } => {
                write!(f, "overflowed its stack: more than {depth_limit} calls or {bytes_limit} bytes deep")
            }
            Self::HostMemory => f.write_str("needed memory that this machine does not have"),
            Self::BrokenRule { what } => f.write_str(what),
            Self::WallClock { limit } => write!(f, "ran longer than its {limit:?}"),
            Self::Setup(why) => write!(f, "could not be set up: {why}"),
            Self::Other(why) => f.write_str(why),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        match self.last_call {
            Some(name) => write!(f, ", after its last host call, {name}")?,
            None => f.write_str(", before its first host call")?,
        }
        let mut lines = self.last_words.lines();
        if let Some(first) = lines.next() {
            write!(f, "; its last words: {first}")?;
        }
        lines.try_for_each(|line| write!(f, " / {line}"))
    }
}

impl std::error::Error for Fault {}

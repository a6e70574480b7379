//! WASI 0.2: components on the interpreter.
//!
//! ```text
//! bytes --parse--> definitions --link--> Plan --instantiate--> core instances, and the function to run
//!       wasmparser                 once a program          once a start
//! ```
//!
//! A component is core modules with a recipe for wiring them up. The recipe is followed once, at compile
//! time, by [`link`]; what is left for the start is a list of instantiations. Imports are lowered at the
//! canonical ABI ([`abi`]) to the host functions of [`table`], which work on the same descriptors, sockets
//! and grants as preview 1's.

mod abi;
mod call;
mod cli;
mod clocks;
mod filesystem;
mod handles;
mod instantiate;
mod io;
mod link;
mod parse;
mod plan;
mod random;
mod realloc;
mod sockets;
mod space;
mod start;
mod table;

use std::hash::RandomState;
use std::task::{Context, Poll};

pub(crate) use self::call::{Call, Trap, retry};
pub(crate) use self::instantiate::{Instances, Next};
pub(crate) use self::link::compile;
pub(crate) use self::plan::Plan;

use self::handles::Handles;
use self::io::OutputStream;
use crate::fds::Fds;

/// What a component has besides what every guest has.
#[derive(Default)]
pub(crate) struct Host {
    handles: Handles,
    /// Guest code runs inside a host call: it may not call the host.
    is_allocating: bool,
    /// How far the current call came before it had to wait.
    stage: u32,
    /// The lookups that the guest waits for, by their handles.
    waits_for: Vec<u32>,
    /// Makes the hashes of files' metadata this guest's own.
    hash: RandomState,
}

impl Host {
    /// Does what goes on while a guest waits, and says whether one of its lookups has ended.
    pub(crate) fn poll(&mut self, fds: &mut Fds, cx: &mut Context<'_>) -> Poll<()> {
        for stream in self.handles.all_mut::<OutputStream>() {
            stream.poll_send(fds, cx);
        }
        let mut ready = Poll::Pending;
        for &number in &self.waits_for {
            if self.handles.at_mut::<sockets::Lookup>(number).is_ok_and(|lookup| lookup.poll(cx).is_ready()) {
                ready = Poll::Ready(());
            }
        }
        ready
    }
}

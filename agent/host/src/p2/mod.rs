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
pub(crate) mod http;
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
use std::sync::Arc;
use std::task::{Context, Poll};

pub(crate) use self::call::{Call, Trap, retry};
pub(crate) use self::instantiate::{Instances, Next};
pub(crate) use self::link::compile;
pub(crate) use self::plan::Plan;

use self::handles::Handles;
use self::http::{FutureResponse, Http};
use self::io::{OutputStream, Pollable};
use crate::fds::{Fds, Permits};
use crate::http::Client;

/// What a component has besides what every guest has.
pub(crate) struct Host {
    handles: Handles,
    http: Http,
    /// Guest code runs inside a host call: it may not call the host.
    is_allocating: bool,
    /// How far the current call came before it had to wait.
    stage: u32,
    /// What the guest waits for that no descriptor stands for: lookups, bodies and answers.
    waits_for: Vec<Pollable>,
    /// Makes the hashes of files' metadata this guest's own.
    hash: RandomState,
}

impl Host {
    pub(crate) fn new(client: Option<Arc<dyn Client>>) -> Self {
        Self {
            handles: Handles::default(),
            http: Http::new(client),
            is_allocating: false,
            stage: 0,
            waits_for: Vec::new(),
            hash: RandomState::new(),
        }
    }

    /// Does what goes on while a guest waits, and says whether something that it waits for has happened.
    pub(crate) fn poll(&mut self, fds: &mut Fds, permits: &mut Permits, cx: &mut Context<'_>) -> Poll<()> {
        for stream in self.handles.all_mut::<OutputStream>() {
            stream.poll_send(fds, cx);
        }
        // What goes out with a request is wanted only when somebody carries it.
        for response in self.handles.all_mut::<FutureResponse>() {
            let _ = response.poll(permits, cx);
        }
        let mut ready = Poll::Pending;
        for &pollable in &self.waits_for {
            if pollable.poll(&mut self.handles, permits, cx).is_ready() {
                ready = Poll::Ready(());
            }
        }
        ready
    }
}

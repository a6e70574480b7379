//! A guest's call of a host function: into it, and out of it again.
//!
//! A function here never blocks. What would block says [`Stop::Wait`] and leaves in
//! [`State::wait`] what it waits for; the guest is suspended, and the same function is tried again with the
//! same arguments when that has happened. So a function has no effect before it knows that it will not
//! wait, or remembers in [`Host::stage`](super::Host::stage) how far it came.

use std::fmt;
use std::sync::Arc;

use wasmi::errors::HostError;
use wasmi::{AsContextMut, Caller, Error, Func, StoreContextMut, Val, ValType};

use super::abi::{FLAT_PARAMS_MAX, Lift, Lower, Sink, Source};
use super::handles;
use super::table::Function;
use crate::memory::Memory;
use crate::p1::{BYTES_PER_FUEL, CALL_FUEL, charge};
use crate::state::{State, Suspended as Pending};

/// Why a function does not return.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The guest broke a rule, and ends.
    Trap(Trap),
    /// What the guest did while its memory was allocated.
    Guest(Error),
    /// Not before what is in [`State::wait`] has happened.
    Wait,
    /// The guest ends itself.
    Exit(u32),
}

/// A rule that a guest broke, in a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trap(pub(crate) &'static str);

/// Why a function that may fail does not return success.
#[derive(Debug)]
pub(super) enum Fail<E> {
    /// What the guest is told.
    Error(E),
    Stop(Stop),
}

/// The canonical options of a lowered import.
pub(super) struct Options {
    pub(super) memory: Option<wasmi::Memory>,
    pub(super) realloc: Option<Func>,
}

/// One import of a core module, bound to what does it.
pub(super) struct Site {
    pub(super) does: Does,
    pub(super) options: Options,
    /// What the importing module expects back.
    pub(super) returns: Option<ValType>,
}

pub(super) enum Does {
    Call(&'static Function),
    Resource(handles::Operation),
}

/// Flat arguments, and the address for a result that is not flat.
type Args = [u64; FLAT_PARAMS_MAX as usize + 1];

/// A guest's call, kept while the guest is suspended in it.
pub(crate) struct Call {
    site: Arc<Site>,
    args: Args,
}

/// A guest calls.
pub(super) fn enter(
    mut caller: Caller<'_, State>,
    site: &Arc<Site>,
    params: &[Val],
    results: &mut [Val],
) -> Result<(), Error> {
    let state = caller.data_mut();
    if state.p2.is_allocating {
        return Err(Error::host(Trap("called the host while it was asked for memory, or dropped what it owns")));
    }
    state.last_call = Some(site.name());
    state.p2.stage = 0;
    let mut args = Args::default();
    for (arg, param) in args.iter_mut().zip(params) {
        *arg = if let Val::I32(value) = param {
            u64::from(value.cast_unsigned())
        } else if let Val::I64(value) = param {
            value.cast_unsigned()
        } else {
            // No function of WASI has another.
            return Err(Error::host(Trap("passed an argument that is no integer")));
        };
    }
    let call = Call { site: Arc::clone(site), args };
    let outcome = attempt(&mut caller, &call);
    charge(&mut caller)?;
    match outcome {
        Ok(returned) => {
            if let (Some(result), Some(value)) = (results.first_mut(), returned) {
                *result = value;
            }
            Ok(())
        }
        Err(stop) => {
            if let Stop::Wait = stop {
                caller.data_mut().suspended = Some(Pending::P2(call));
            }
            Err(stop.into_error())
        }
    }
}

/// Tries a call, for the first time or again.
fn attempt(mut store: impl AsContextMut<Data = State>, call: &Call) -> Result<Option<Val>, Stop> {
    let mut store = store.as_context_mut();
    let state = store.data_mut();
    state.wait.clear();
    state.p2.waits_for.clear();
    let site = &call.site;
    let cell = match &site.does {
        Does::Call(function) => (function.run)(&mut Frame { store, site, args: &call.args })?,
        Does::Resource(operation) => operation.run(store, call.args[0] as u32)?,
    };
    Ok(match (site.returns, cell) {
        (Some(ValType::I32), Some(cell)) => Some(Val::I32((cell as u32).cast_signed())),
        (Some(ValType::I64), Some(cell)) => Some(Val::I64(cell.cast_signed())),
        _ => None,
    })
}

/// Tries a call again; its result, or `None` if it has to wait again.
pub(crate) fn retry(store: impl AsContextMut<Data = State>, call: &Call) -> Result<Option<Option<Val>>, Error> {
    match attempt(store, call) {
        Ok(returned) => Ok(Some(returned)),
        Err(Stop::Wait) => Ok(None),
        Err(stop) => Err(stop.into_error()),
    }
}

impl Stop {
    fn into_error(self) -> Error {
        match self {
            Self::Trap(trap) => Error::host(trap),
            Self::Guest(error) => error,
            Self::Wait => Error::host(Suspended),
            Self::Exit(code) => Error::i32_exit(code.cast_signed()),
        }
    }
}

impl Site {
    fn name(&self) -> &'static str {
        match &self.does {
            Does::Call(function) => function.name,
            Does::Resource(operation) => operation.name(),
        }
    }
}

/// A call that is being tried.
pub(super) struct Frame<'a> {
    store: StoreContextMut<'a, State>,
    site: &'a Site,
    args: &'a Args,
}

/// What a function works on.
pub(super) struct Cx<'a> {
    pub(super) memory: &'a Memory<'a>,
    pub(super) state: &'a mut State,
}

impl Frame<'_> {
    /// Lifts the parameters, calls, and lowers the result.
    pub(super) fn call<P: Lift, R: Lower>(
        &mut self,
        does: impl FnOnce(&mut Cx<'_>, P) -> Result<R, Stop>,
    ) -> Result<Option<u64>, Stop> {
        let value = {
            let (bytes, state) = match self.site.options.memory {
                Some(memory) => memory.data_and_store_mut(&mut self.store),
                None => (&mut [][..], self.store.data_mut()),
            };
            let memory = Memory(bytes);
            let mut source = if flat_params::<P>() {
                Source::flat(&memory, self.args)
            } else {
                Source::memory(&memory, self.args[0] as u32, P::LAYOUT)?
            };
            let params = P::lift(&mut source)?;
            let mut cx = Cx { memory: &memory, state };
            cx.moved(source.copied());
            does(&mut cx, params)?
        };
        let store = self.store.as_context_mut();
        if R::LAYOUT.cells <= 1 {
            let mut sink = Sink::flat(store, &self.site.options);
            value.lower(&mut sink)?;
            return Ok(sink.cell());
        }
        let at = self.args[if flat_params::<P>() { P::LAYOUT.cells as usize } else { 1 }] as u32;
        let mut sink = Sink::memory(store, &self.site.options, at, R::LAYOUT)?;
        value.lower(&mut sink)?;
        Ok(None)
    }
}

fn flat_params<P: Lift>() -> bool {
    P::LAYOUT.cells <= FLAT_PARAMS_MAX
}

impl Cx<'_> {
    /// Has the guest pay for bytes that were moved.
    pub(super) fn moved(&mut self, bytes: usize) {
        self.state.work += bytes as u64 / BYTES_PER_FUEL;
    }

    /// Has the guest pay for one more of what a call does several times.
    pub(super) fn worked(&mut self) {
        self.state.work += CALL_FUEL;
    }

    /// Suspends the guest until a thread of the runtime has done what can take seconds on a slow card.
    /// The call gets the outcome from [`Cx::finished`] when it is tried again.
    pub(super) fn offload(&mut self, work: impl FnOnce() -> std::io::Result<u32> + Send + 'static) -> Stop {
        self.state.wait.job = Some(tokio::task::spawn_blocking(work));
        Stop::Wait
    }

    pub(super) fn finished(&mut self) -> Option<std::io::Result<u32>> {
        self.state.wait.finished.take()
    }
}

/// What a function of the table returns: a value, or with a `result` type either kind of failure.
pub(super) trait Returned {
    type Value: Lower;

    fn split(self) -> Result<Self::Value, Stop>;
}

impl<T: Lower> Returned for Result<T, Stop> {
    type Value = T;

    fn split(self) -> Result<T, Stop> {
        self
    }
}

impl<T: Lower, E: Lower> Returned for Result<T, Fail<E>> {
    type Value = Result<T, E>;

    fn split(self) -> Result<Result<T, E>, Stop> {
        match self {
            Ok(value) => Ok(Ok(value)),
            Err(Fail::Error(error)) => Ok(Err(error)),
            Err(Fail::Stop(stop)) => Err(stop),
        }
    }
}

impl From<Trap> for Stop {
    fn from(trap: Trap) -> Self {
        Self::Trap(trap)
    }
}

impl<E> From<Stop> for Fail<E> {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

impl<E> From<Trap> for Fail<E> {
    fn from(trap: Trap) -> Self {
        Self::Stop(trap.into())
    }
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl HostError for Trap {}

/// The error that suspends a guest in a host call.
#[derive(Debug)]
struct Suspended;

impl fmt::Display for Suspended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("suspended in a host call")
    }
}

impl HostError for Suspended {}

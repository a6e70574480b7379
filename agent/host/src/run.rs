//! One run of a program: the task that drives calls which suspend.
//!
//! A guest stops for one of three reasons, and each gives the other tasks their turn. Its slice of
//! fuel is spent: the task yields and refuels it. A host function would block: it leaves what it
//! waits for in [`State::wait`], the task awaits that, tries the function again and resumes the
//! guest with its result. Or it ends.

use std::time::Duration;

use tokio::time::Instant;
use wasmi::errors::ErrorKind;
use wasmi::{Error, Extern, Func, Instance, ResumableCall, Store, TrapCode, Val};

use crate::engine::{Code, Program, World};
use crate::fault::FaultKind;
use crate::guest::{Ended, Guest, NotStarted};
use crate::p1;
#[cfg(feature = "components")]
use crate::p2;
use crate::quota::Limits;
use crate::state::{State, Suspended};

/// Runs a program to its end: a module's `_start`, a component's `wasi:cli/run`.
///
/// The future is `Send`; it needs a tokio runtime with I/O and time. Dropping it kills the guest:
/// its memory, its connections and its hold on the listeners are gone when `drop` returns.
pub async fn run(program: &Program, guest: Guest) -> Ended {
    let mut run = match Run::new(program, guest).await {
        Ok(run) => run,
        Err(error) => return Ended::NotStarted(error),
    };
    if program.world() == World::Http {
        return run.fault(FaultKind::Setup("it answers HTTP requests, and is no program to run".to_owned()));
    }
    match run.limited(async |run| run.whole().await).await {
        Ok(code) => Ended::Exited(code),
        Err(ended) => ended,
    }
}

pub(crate) struct Run {
    store: Store<State>,
    program: Program,
    pace: Option<Pace>,
    /// What the store's fuel was when it was last looked at.
    fuel: u64,
}

impl Run {
    pub(crate) async fn new(program: &Program, guest: Guest) -> Result<Self, NotStarted> {
        let pace = guest.limits.fuel_per_second.map(Pace::new);
        // Counting what is in a directory reads all of it.
        let counts = guest.directories.iter().any(|directory| directory.bytes_max.is_some());
        let state = if counts { elsewhere(move || State::new(guest)).await } else { State::new(guest) };
        let mut store = Store::new(program.engine(), state?);
        store.limiter(|state| &mut state.quota);
        Ok(Self { store, program: program.clone(), pace, fuel: 0 })
    }

    /// Does something with the guest within its time; how it ended, if it did.
    pub(crate) async fn limited<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Ended> {
        let outcome = match self.store.data().limits.wall_clock {
            None => work(self).await,
            Some(limit) => match tokio::time::timeout(limit, work(self)).await {
                Ok(outcome) => outcome,
                Err(_) => return Err(self.fault(FaultKind::WallClock { limit })),
            },
        };
        outcome.map_err(|error| match error.i32_exit_status() {
            Some(code) => Ended::Exited(code.cast_unsigned()),
            None => self.fault(self.fault_kind(&error)),
        })
    }

    pub(crate) fn fault(&self, kind: FaultKind) -> Ended {
        Ended::Fault(self.store.data().fault(kind))
    }

    #[cfg(feature = "components")]
    pub(crate) fn state(&mut self) -> &mut State {
        self.store.data_mut()
    }

    /// Runs the program; its exit code.
    async fn whole(&mut self) -> Result<u32, Error> {
        let Some((run, after)) = self.start().await? else { return Ok(0) };
        let mut failed = [Val::I32(0)];
        self.call(run, &[], &mut failed).await?;
        if let Some(after) = after {
            self.call(after, &failed, &mut []).await?;
        }
        Ok(u32::from(!matches!(failed, [Val::I32(0)])))
    }

    /// Sets the guest up. A module is run by that; of a component it is the function that it is there for, and
    /// what frees that one's result.
    pub(crate) async fn start(&mut self) -> Result<Option<(Func, Option<Func>)>, Error> {
        self.refuel(0)?;
        match self.program.clone().code() {
            Code::Module { module, imports } => {
                let externs = imports.externs(&mut self.store);
                let instance = Instance::new(&mut self.store, module, &externs)?;
                let memory = instance.get_export(&self.store, "memory").and_then(Extern::into_memory);
                let start = instance.get_typed_func::<(), ()>(&self.store, "_start")?;
                let state = self.store.data_mut();
                state.memory = memory;
                state.quota.started = true;
                self.call(*start.func(), &[], &mut []).await?;
                Ok(None)
            }
            #[cfg(feature = "components")]
            Code::Component(plan) => self.instantiate(plan).await.map(Some),
        }
    }

    #[cfg(feature = "components")]
    async fn instantiate(&mut self, plan: &p2::Plan) -> Result<(Func, Option<Func>), Error> {
        self.store.data_mut().quota.instances_max = plan.instances();
        let mut instances = p2::Instances::default();
        loop {
            match plan.next(&mut self.store, &mut instances)? {
                p2::Next::Instantiate => {}
                p2::Next::Call(start) => self.call(start, &[], &mut []).await?,
                p2::Next::Done => break,
            }
        }
        self.store.data_mut().quota.started = true;
        plan.entry(&self.store, &instances)
    }

    /// Calls a function of the guest, and waits for all that it waits for. An exit is an error that carries the code.
    pub(crate) async fn call(&mut self, func: Func, params: &[Val], results: &mut [Val]) -> Result<(), Error> {
        let mut call = func.call_resumable(&mut self.store, params, results)?;
        loop {
            self.account();
            call = match call {
                ResumableCall::Finished => return Ok(()),
                ResumableCall::OutOfFuel(call) => {
                    self.pause().await;
                    self.refuel(call.required_fuel())?;
                    call.resume(&mut self.store, results)?
                }
                ResumableCall::HostTrap(call) => {
                    let Some(suspended) = self.store.data_mut().suspended.take() else {
                        return Err(call.into_host_error());
                    };
                    let returned = self.complete(&suspended).await?;
                    call.resume(&mut self.store, returned.as_slice(), results)?
                }
            };
        }
    }

    /// Awaits what the call waits for and tries it again, until it returns or the guest ends in it.
    async fn complete(&mut self, call: &Suspended) -> Result<Option<Val>, Error> {
        loop {
            self.store.data_mut().wait().await;
            let outcome = match call {
                Suspended::P1(call) => p1::retry(&mut self.store, call),
                #[cfg(feature = "components")]
                Suspended::P2(call) => p2::retry(&mut self.store, call),
            };
            match outcome? {
                Some(returned) => return Ok(returned),
                // Woken for nothing. Were that to happen again at once, the others still have their turn.
                None => tokio::task::yield_now().await,
            }
        }
    }

    /// A spent slice: the others' turn, and a rest if it ran ahead of its share.
    async fn pause(&mut self) {
        tokio::task::yield_now().await;
        if let Some(due) = self.pace.as_ref().and_then(Pace::rest) {
            tokio::time::sleep_until(due).await;
        }
    }

    /// Gives a slice, or as much as the next step needs: a bulk operation can need more.
    fn refuel(&mut self, required: u64) -> Result<(), Error> {
        self.fuel = self.store.data().limits.fuel_slice.max(required);
        self.store.set_fuel(self.fuel)
    }

    fn account(&mut self) {
        let left = self.store.get_fuel().unwrap_or(self.fuel);
        // What calls did beyond the slice counts too, and what they did after they had waited.
        let spent = self.fuel.saturating_sub(left) + std::mem::take(&mut self.store.data_mut().work);
        self.fuel = left;
        self.store.data().quota.usage().spent(spent);
        if let Some(pace) = &mut self.pace {
            pace.spend(spent);
        }
    }

    fn fault_kind(&self, error: &Error) -> FaultKind {
        let state = self.store.data();
        let refused = state
            .quota
            .refused_bytes
            .map(|wanted_bytes| FaultKind::MemoryLimit { wanted_bytes, limit_bytes: state.limits.memory_bytes });
        #[cfg(feature = "components")]
        if let Some(p2::Trap(what)) = error.downcast_ref() {
            return FaultKind::BrokenRule { what };
        }
        let Some(code) = error.as_trap_code() else {
            let why = error.to_string();
            return if let ErrorKind::Instantiation(_) = error.kind() {
                refused.unwrap_or(FaultKind::Setup(why))
            } else {
                FaultKind::Other(why)
            };
        };
        match code {
            TrapCode::UnreachableCodeReached => refused.unwrap_or(FaultKind::Unreachable),
            TrapCode::MemoryOutOfBounds => FaultKind::MemoryOutOfBounds,
            TrapCode::TableOutOfBounds => FaultKind::TableOutOfBounds,
            TrapCode::IndirectCallToNull => FaultKind::NullCall,
            TrapCode::IntegerDivisionByZero => FaultKind::DivideByZero,
            TrapCode::IntegerOverflow => FaultKind::IntegerOverflow,
            TrapCode::BadConversionToInteger => FaultKind::BadConversion,
            TrapCode::StackOverflow => FaultKind::StackOverflow {
                depth_limit: self.program.call_depth(),
                bytes_limit: self.program.stack_bytes(),
            },
            TrapCode::BadSignature => FaultKind::WrongCallType,
            TrapCode::OutOfSystemMemory => FaultKind::HostMemory,
            TrapCode::OutOfFuel | TrapCode::GrowthOperationLimited => FaultKind::Other(error.to_string()),
        }
    }
}

/// Does it on a thread where it holds up nobody.
async fn elsewhere<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

/// Keeps a guest to its fuel per second.
struct Pace {
    per_second: u64,
    /// When everything spent so far is paid for.
    due: Instant,
}

impl Pace {
    fn new(per_second: u64) -> Self {
        Self { per_second: per_second.max(1), due: Instant::now() }
    }

    fn spend(&mut self, fuel: u64) {
        let now = Instant::now();
        let start = now.checked_sub(Limits::FUEL_BURST).unwrap_or(now);
        let cost = Duration::from_secs_f64(fuel as f64 / self.per_second as f64);
        self.due = self.due.max(start) + cost;
    }

    /// Until when it has to rest, if it ran ahead.
    fn rest(&self) -> Option<Instant> {
        (self.due > Instant::now()).then_some(self.due)
    }
}

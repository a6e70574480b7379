//! Runs WebAssembly: a guest is a task on an interpreter, and WASI is what it sees of the world.
//!
//! ```text
//! bytes --Program::compile--> Program --run(&program, Guest)--> Ended
//!         blocking thread      cheap to clone    a Send future; dropping it kills the guest
//! ```
//!
//! It never decides what may run, knows neither deploys nor MQTT, and gives no guest a thread: a host
//! call that would block suspends the guest, and the task awaits what the guest waits for.
//!
//! ```
//! use dunlin_host::{Ended, Guest, Limits, Program, run};
//!
//! async fn try_it(wasm: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
//!     let program = Program::compile(wasm, &Limits::default())?;
//!     let guest = Guest { args: vec!["app".to_owned()], ..Guest::default() };
//!     match run(&program, guest).await {
//!         Ended::Exited(code) => println!("exited with {code}"),
//!         Ended::Fault(fault) => println!("{fault}"),
//!         Ended::NotStarted(error) => return Err(error.into()),
//!     }
//!     Ok(())
//! }
//! ```

mod buffers;
mod bus;
mod engine;
mod fault;
mod fds;
mod gate;
mod grants;
mod guest;
#[cfg(feature = "components")]
pub mod http;
mod lookup;
mod memory;
mod p1;
#[cfg(feature = "components")]
mod p2;
mod quota;
mod rejected;
mod run;
mod state;

pub use bus::{Bus, Message, NotTaken};
pub use engine::{Program, WeakProgram, World};
pub use fault::{Fault, FaultKind};
pub use gate::Gate;
pub use grants::{BadReach, Grants, Port, PortSocket, Reach};
pub use guest::{Directory, Ended, Guest, Listener, NotStarted, Observer, Silent, Stdin, Stream};
pub use lookup::Lookups;
pub use p1::{FunctionInfo, functions};
pub use quota::{Connection, Limits, Usage};
pub use rejected::Rejected;
pub use run::run;

//! Guest code inside a host call: its allocator, and what it does when an own resource of its is dropped.
//!
//! Such a call cannot be suspended. So it runs on fuel that is lent to it, and host functions refuse to be
//! called meanwhile.

use wasmi::{AsContextMut, Func, StoreContextMut, TrapCode, Val};

use super::call::{Options, Stop, Trap};
use crate::state::State;

/// Enough for an allocator that has to initialise itself, and for a few milliseconds of anything else.
const LENT_FUEL: u64 = 10_000_000;

/// Has the guest allocate memory for a result.
pub(super) fn allocate(
    store: StoreContextMut<'_, State>,
    options: &Options,
    bytes: u32,
    align: u32,
) -> Result<u32, Stop> {
    let realloc = options.realloc.ok_or(Trap("a result needs memory, and the import has no realloc"))?;
    let nothing = Val::I32(0);
    let (align, bytes) = (Val::I32(align.cast_signed()), Val::I32(bytes.cast_signed()));
    let mut at = [Val::I32(0)];
    call(store, realloc, &[nothing.clone(), nothing, align, bytes], &mut at)?;
    match at {
        [Val::I32(at)] => Ok(at.cast_unsigned()),
        _ => Err(Trap("realloc returned no address").into()),
    }
}

/// Calls the guest, and has it pay for what it did.
pub(super) fn call(
    mut store: StoreContextMut<'_, State>,
    func: Func,
    params: &[Val],
    results: &mut [Val],
) -> Result<(), Stop> {
    let own = store.get_fuel().map_err(Stop::Guest)?;
    store.set_fuel(LENT_FUEL).map_err(Stop::Guest)?;
    store.data_mut().p2.is_allocating = true;
    let outcome = func.call(store.as_context_mut(), params, results);
    store.data_mut().p2.is_allocating = false;
    let spent = LENT_FUEL.saturating_sub(store.get_fuel().unwrap_or(0));
    store.set_fuel(own).map_err(Stop::Guest)?;
    store.data_mut().work += spent;
    outcome.map_err(|error| {
        if error.as_trap_code() == Some(TrapCode::OutOfFuel) {
            Stop::Trap(Trap("took too long to allocate memory"))
        } else {
            Stop::Guest(error)
        }
    })
}

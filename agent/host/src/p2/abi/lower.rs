//! Lowering: from Rust values to a flat result, or to guest memory that the guest's `realloc` gives.

use wasmi::{AsContextMut, Memory, StoreContextMut};

use super::lift::{OUT_OF_BOUNDS, UNALIGNED};
use super::{Layout, Wit, align_to};
use crate::p1::BYTES_PER_FUEL;
use crate::p2::call::{Options, Stop, Trap};
use crate::p2::realloc;
use crate::state::State;

/// A type that a guest can be given.
pub(in crate::p2) trait Lower: Wit {
    fn lower(self, to: &mut Sink<'_>) -> Result<(), Stop>;
}

/// Where a value is written to, piece by piece.
pub(in crate::p2) struct Sink<'a> {
    store: StoreContextMut<'a, State>,
    options: &'a Options,
    place: Place,
}

#[derive(Clone, Copy)]
enum Place {
    /// The one cell that a flat result has.
    Flat(u64),
    Memory(u32),
}

impl<'a> Sink<'a> {
    pub(in crate::p2) fn flat(store: StoreContextMut<'a, State>, options: &'a Options) -> Self {
        Self { store, options, place: Place::Flat(0) }
    }

    pub(in crate::p2) fn memory(
        store: StoreContextMut<'a, State>,
        options: &'a Options,
        at: u32,
        layout: Layout,
    ) -> Result<Self, Stop> {
        let mut sink = Self { store, options, place: Place::Memory(at) };
        sink.check(at, layout.bytes, layout.align)?;
        Ok(sink)
    }

    /// The flat result.
    pub(in crate::p2) fn cell(&self) -> Option<u64> {
        match self.place {
            Place::Flat(cell) => Some(cell),
            Place::Memory(_) => None,
        }
    }

    /// The next integer, of 1, 2, 4 or 8 bytes.
    pub(super) fn int(&mut self, value: u64, bytes: u32) -> Result<(), Stop> {
        match self.place {
            Place::Flat(_) => self.place = Place::Flat(value),
            Place::Memory(at) => {
                let at = align_to(at, bytes);
                self.put(at, &value.to_le_bytes()[..bytes as usize])?;
                self.place = Place::Memory(at + bytes);
            }
        }
        Ok(())
    }

    /// What lies in a record or tuple of this layout.
    pub(in crate::p2) fn aggregate(
        &mut self,
        layout: Layout,
        fields: impl FnOnce(&mut Self) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        if let Place::Memory(at) = &mut self.place {
            *at = align_to(*at, layout.align);
        }
        let start = self.place;
        fields(self)?;
        if let Place::Memory(at) = start {
            self.place = Place::Memory(at.saturating_add(layout.bytes));
        }
        Ok(())
    }

    /// A variant of this layout: the case, and its payload behind that.
    pub(in crate::p2) fn variant(
        &mut self,
        layout: Layout,
        case: u32,
        payload: impl FnOnce(&mut Self) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        self.aggregate(layout, |to| {
            to.int(case.into(), 1)?;
            if let Place::Memory(at) = &mut to.place {
                *at = *at - 1 + layout.payload();
            }
            payload(to)
        })
    }

    /// A list of bytes, or a text.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        let (at, len) = self.allocate(bytes.len(), Layout::scalar(1))?;
        self.put(at, bytes)?;
        self.int(at.into(), 4)?;
        self.int(len.into(), 4)
    }

    /// A list.
    pub(super) fn elements<T: Lower>(&mut self, elements: Vec<T>) -> Result<(), Stop> {
        let (at, len) = self.allocate(elements.len(), T::LAYOUT)?;
        let mut list = Sink { store: self.store.as_context_mut(), options: self.options, place: Place::Memory(at) };
        elements.into_iter().try_for_each(|element| element.lower(&mut list))?;
        self.int(at.into(), 4)?;
        self.int(len.into(), 4)
    }

    fn allocate(&mut self, count: usize, element: Layout) -> Result<(u32, u32), Stop> {
        const TOO_LONG: Trap = Trap("a result is longer than a guest's memory can be");
        let count = u32::try_from(count).map_err(|_| TOO_LONG)?;
        let bytes = count.checked_mul(element.bytes).ok_or(TOO_LONG)?;
        let at = realloc::allocate(self.store.as_context_mut(), self.options, bytes, element.align)?;
        self.check(at, bytes, element.align)?;
        self.store.data_mut().work += u64::from(bytes) / BYTES_PER_FUEL;
        Ok((at, count))
    }

    fn check(&mut self, at: u32, bytes: u32, align: u32) -> Result<(), Trap> {
        if !at.is_multiple_of(align) {
            return Err(UNALIGNED);
        }
        let end = at.checked_add(bytes).ok_or(OUT_OF_BOUNDS)?;
        let memory = self.guest_memory()?;
        if memory.data_size(&self.store) < end as usize { Err(OUT_OF_BOUNDS) } else { Ok(()) }
    }

    fn put(&mut self, at: u32, bytes: &[u8]) -> Result<(), Stop> {
        let memory = self.guest_memory()?;
        memory.write(&mut self.store, at as usize, bytes).map_err(|_| OUT_OF_BOUNDS)?;
        Ok(())
    }

    fn guest_memory(&self) -> Result<Memory, Trap> {
        self.options.memory.ok_or(Trap("a result needs memory, and the import has none"))
    }
}

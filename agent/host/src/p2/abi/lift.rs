//! Lifting: from flat arguments, or from guest memory, to Rust values.

use super::{Layout, Wit, align_to};
use crate::memory::Memory;
use crate::p2::call::Trap;

/// A type that a guest can pass.
pub(in crate::p2) trait Lift: Wit {
    fn lift(from: &mut Source<'_>) -> Result<Self, Trap>;
}

/// Where a value is read from, piece by piece.
pub(in crate::p2) struct Source<'a> {
    memory: &'a Memory<'a>,
    place: Place<'a>,
}

#[derive(Clone, Copy)]
enum Place<'a> {
    Flat(&'a [u64]),
    Memory(u32),
}

pub(super) const OUT_OF_BOUNDS: Trap = Trap("an argument leads out of its memory");
pub(super) const UNALIGNED: Trap = Trap("a pointer in an argument is not aligned");

impl<'a> Source<'a> {
    pub(in crate::p2) fn flat(memory: &'a Memory<'a>, cells: &'a [u64]) -> Self {
        Self { memory, place: Place::Flat(cells) }
    }

    pub(in crate::p2) fn memory(memory: &'a Memory<'a>, at: u32, layout: Layout) -> Result<Self, Trap> {
        check(memory, at, layout.bytes, layout.align)?;
        Ok(Self { memory, place: Place::Memory(at) })
    }

    /// The next integer, of 1, 2, 4 or 8 bytes.
    pub(super) fn int(&mut self, bytes: u32) -> Result<u64, Trap> {
        let mask = u64::MAX >> (64 - 8 * bytes);
        match &mut self.place {
            Place::Flat(cells) => {
                let (cell, rest) = cells.split_first().ok_or(OUT_OF_BOUNDS)?;
                *cells = rest;
                Ok(cell & mask)
            }
            Place::Memory(at) => {
                let from = align_to(*at, bytes);
                let found = self.memory.slice(from, bytes).map_err(|_| OUT_OF_BOUNDS)?;
                let mut value = [0; 8];
                value[..found.len()].copy_from_slice(found);
                *at = from + bytes;
                Ok(u64::from_le_bytes(value))
            }
        }
    }

    /// What lies in a record or tuple of this layout.
    pub(in crate::p2) fn aggregate<T>(
        &mut self,
        layout: Layout,
        fields: impl FnOnce(&mut Self) -> Result<T, Trap>,
    ) -> Result<T, Trap> {
        if let Place::Memory(at) = &mut self.place {
            *at = align_to(*at, layout.align);
        }
        let start = self.place;
        let value = fields(self)?;
        self.place = start.behind(layout);
        Ok(value)
    }

    /// A variant of this layout: its payload, by the case.
    pub(in crate::p2) fn variant<T>(
        &mut self,
        layout: Layout,
        payload: impl FnOnce(u64, &mut Self) -> Result<T, Trap>,
    ) -> Result<T, Trap> {
        self.aggregate(layout, |from| {
            let case = match from.place {
                // All four bytes of it count here.
                Place::Flat(_) => from.int(4)?,
                Place::Memory(_) => from.int(1)?,
            };
            if let Place::Memory(at) = &mut from.place {
                *at = *at - 1 + layout.payload();
            }
            payload(case, from)
        })
    }

    /// A list: where it is, and how many elements it has.
    pub(super) fn list(&mut self, element: Layout) -> Result<(u32, u32), Trap> {
        let (at, len) = (self.int(4)? as u32, self.int(4)? as u32);
        let bytes = len.checked_mul(element.bytes).ok_or(OUT_OF_BOUNDS)?;
        check(self.memory, at, bytes, element.align)?;
        Ok((at, len))
    }

    /// The elements of a list.
    pub(super) fn elements<T: Lift>(&mut self) -> Result<Vec<T>, Trap> {
        let (at, len) = self.list(T::LAYOUT)?;
        let mut elements = Self { memory: self.memory, place: Place::Memory(at) };
        (0..len).map(|_| T::lift(&mut elements)).collect()
    }

    pub(super) fn text(&mut self) -> Result<String, Trap> {
        let (at, len) = self.list(u8::LAYOUT)?;
        let bytes = self.memory.slice(at, len).map_err(|_| OUT_OF_BOUNDS)?;
        let text = std::str::from_utf8(bytes).map_err(|_| Trap("a string argument is not UTF-8"))?;
        Ok(text.to_owned())
    }
}

impl Place<'_> {
    /// The place behind a value of this layout that begins here.
    fn behind(self, layout: Layout) -> Self {
        match self {
            Self::Flat(cells) => Self::Flat(cells.get(layout.cells as usize..).unwrap_or_default()),
            Self::Memory(at) => Self::Memory(at.saturating_add(layout.bytes)),
        }
    }
}

/// Whether a value of so many bytes can lie there.
pub(super) fn check(memory: &Memory<'_>, at: u32, bytes: u32, align: u32) -> Result<(), Trap> {
    if !at.is_multiple_of(align) {
        return Err(UNALIGNED);
    }
    memory.check(at, bytes).map_err(|_| OUT_OF_BOUNDS)
}

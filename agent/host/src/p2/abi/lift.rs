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
    /// Bytes that were copied for texts and lists so far.
    copied: usize,
}

#[derive(Clone, Copy)]
enum Place<'a> {
    Flat(&'a [u64]),
    Memory(u32),
}

pub(super) const OUT_OF_BOUNDS: Trap = Trap("an argument leads out of its memory");
pub(super) const UNALIGNED: Trap = Trap("a pointer in an argument is not aligned");
const TOO_LONG: Trap = Trap("passed texts and lists of more than 1 MiB in one call");

/// Bytes that the texts and the elements in one call's arguments may have. Texts may lie over each other, so that the
/// guest's memory is no bound. What is only looked at where it lies, as what is written to a file, does not count.
const COPIED_BYTES_MAX: usize = 1 << 20;

impl<'a> Source<'a> {
    pub(in crate::p2) fn flat(memory: &'a Memory<'a>, cells: &'a [u64]) -> Self {
        Self { memory, place: Place::Flat(cells), copied: 0 }
    }

    pub(in crate::p2) fn memory(memory: &'a Memory<'a>, at: u32, layout: Layout) -> Result<Self, Trap> {
        check(memory, at, layout.bytes, layout.align)?;
        Ok(Self { memory, place: Place::Memory(at), copied: 0 })
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
        self.copy((len as usize).saturating_mul(size_of::<T>()))?;
        let mut elements = Self { place: Place::Memory(at), ..*self };
        let list = (0..len).map(|_| T::lift(&mut elements)).collect();
        self.copied = elements.copied;
        list
    }

    pub(super) fn text(&mut self) -> Result<String, Trap> {
        let (at, len) = self.list(u8::LAYOUT)?;
        self.copy(len as usize)?;
        let bytes = self.memory.slice(at, len).map_err(|_| OUT_OF_BOUNDS)?;
        let text = std::str::from_utf8(bytes).map_err(|_| Trap("a string argument is not UTF-8"))?;
        Ok(text.to_owned())
    }

    /// What the guest is to pay for.
    pub(in crate::p2) fn copied(&self) -> usize {
        self.copied
    }

    /// Counts what is about to be copied.
    fn copy(&mut self, bytes: usize) -> Result<(), Trap> {
        self.copied = self.copied.saturating_add(bytes);
        if self.copied > COPIED_BYTES_MAX { Err(TOO_LONG) } else { Ok(()) }
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

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT_BYTES: usize = 64 * 1024;

    /// Lifts a list of so many texts, which are all the same one; how much was copied.
    fn lift_same_text(times: usize) -> Result<usize, Trap> {
        let mut bytes = vec![b'a'; TEXT_BYTES];
        bytes.extend([0, TEXT_BYTES as u32].map(u32::to_le_bytes).concat().repeat(times));
        let memory = Memory(&mut bytes);
        let list = [TEXT_BYTES as u64, times as u64];
        let mut source = Source::flat(&memory, &list);
        let texts = Vec::<String>::lift(&mut source)?;
        assert!(texts.len() == times && texts.iter().all(|text| text.len() == TEXT_BYTES));
        Ok(source.copied())
    }

    #[test]
    fn texts_over_each_other_are_copied_up_to_a_mebibyte() {
        assert_eq!(lift_same_text(15), Ok(15 * (TEXT_BYTES + size_of::<String>())));
        assert_eq!(lift_same_text(16), Err(TOO_LONG));
        assert_eq!(lift_same_text(100_000), Err(TOO_LONG));
    }

    #[test]
    fn a_list_counts_before_it_is_lifted() {
        let mut bytes = vec![0; 2 * COPIED_BYTES_MAX];
        let memory = Memory(&mut bytes);
        for (len, lifted) in [(COPIED_BYTES_MAX, Ok(COPIED_BYTES_MAX)), (COPIED_BYTES_MAX + 1, Err(TOO_LONG))] {
            let list = [0, len as u64];
            assert_eq!(Vec::<u8>::lift(&mut Source::flat(&memory, &list)).map(|list| list.len()), lifted);
        }
    }

    #[test]
    fn every_argument_of_a_call_counts() {
        let mut bytes = vec![b'a'; COPIED_BYTES_MAX];
        let memory = Memory(&mut bytes);
        let lift = |one, other| {
            let args = [0, one, 0, other];
            <(String, String)>::lift(&mut Source::flat(&memory, &args)).map(|(one, other)| one.len() + other.len())
        };
        let half = COPIED_BYTES_MAX as u64 / 2;
        assert_eq!(lift(half, half), Ok(COPIED_BYTES_MAX));
        assert_eq!(lift(half, half + 1), Err(TOO_LONG));
    }
}

//! A guest's linear memory, as host functions see it: every access is checked.

/// An address, a length or a count from a guest that leads out of its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutOfBounds;

/// The linear memory of a suspended or calling guest.
pub(crate) struct Memory<'a>(pub(crate) &'a mut [u8]);

/// A range of guest memory that a guest named in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) at: u32,
    pub(crate) len: u32,
}

impl Memory<'_> {
    pub(crate) fn slice(&self, at: u32, len: u32) -> Result<&[u8], OutOfBounds> {
        self.0.get(at as usize..).and_then(|rest| rest.get(..len as usize)).ok_or(OutOfBounds)
    }

    pub(crate) fn slice_mut(&mut self, at: u32, len: u32) -> Result<&mut [u8], OutOfBounds> {
        self.0.get_mut(at as usize..).and_then(|rest| rest.get_mut(..len as usize)).ok_or(OutOfBounds)
    }

    /// Everything from there on.
    pub(crate) fn from(&self, at: u32) -> Result<&[u8], OutOfBounds> {
        self.0.get(at as usize..).ok_or(OutOfBounds)
    }

    /// Whether `len` bytes can be written at `at`: asked before an effect that cannot be undone.
    pub(crate) fn check(&self, at: u32, len: u32) -> Result<(), OutOfBounds> {
        self.slice(at, len).map(|_| ())
    }

    pub(crate) fn array<const N: usize>(&self, at: u32) -> Result<[u8; N], OutOfBounds> {
        let bytes = self.0.get(at as usize..).and_then(|rest| rest.first_chunk());
        bytes.copied().ok_or(OutOfBounds)
    }

    pub(crate) fn u32(&self, at: u32) -> Result<u32, OutOfBounds> {
        self.array(at).map(u32::from_le_bytes)
    }

    pub(crate) fn put(&mut self, at: u32, bytes: &[u8]) -> Result<(), OutOfBounds> {
        // No slice is longer than a 32-bit memory can hold, unless it cannot fit anyway.
        let len = u32::try_from(bytes.len()).map_err(|_| OutOfBounds)?;
        self.slice_mut(at, len)?.copy_from_slice(bytes);
        Ok(())
    }

    pub(crate) fn put_u32(&mut self, at: u32, value: u32) -> Result<(), OutOfBounds> {
        self.put(at, &value.to_le_bytes())
    }

    pub(crate) fn put_u64(&mut self, at: u32, value: u64) -> Result<(), OutOfBounds> {
        self.put(at, &value.to_le_bytes())
    }

    /// The `index`th of the eight-byte `(address, length)` pairs at `list`.
    pub(crate) fn span(&self, list: u32, index: u32) -> Result<Span, OutOfBounds> {
        let pair = index.checked_mul(8).and_then(|offset| list.checked_add(offset)).ok_or(OutOfBounds)?;
        let [a, b, c, d, e, f, g, h] = self.array(pair)?;
        Ok(Span { at: u32::from_le_bytes([a, b, c, d]), len: u32::from_le_bytes([e, f, g, h]) })
    }

    /// Checks a list of `(address, length)` pairs and everything that it points at.
    pub(crate) fn check_spans(&self, list: u32, count: u32) -> Result<(), OutOfBounds> {
        (0..count).try_for_each(|index| {
            let Span { at, len } = self.span(list, index)?;
            self.check(at, len)
        })
    }
}

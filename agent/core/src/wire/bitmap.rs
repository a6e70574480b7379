//! One bit for each chunk of a module: which are there, or which are wanted.
//!
//! On `want` it is the least significant bit of each byte first, as many bytes as the chunks need
//! and no bit behind the last of them. It is not signed: whoever can publish can ask.

use alloc::{vec, vec::Vec};

use crate::{Refusal, limits, refusal::ensure};

/// A set of a module's chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bitmap {
    bytes: Vec<u8>,
    count: u32,
}

impl Bitmap {
    /// None of `count` chunks.
    pub fn new(count: u32) -> Self {
        Self { bytes: vec![0; count.div_ceil(8) as usize], count }
    }

    /// What somebody published on `want` for a module of `count` chunks.
    pub fn decode(bytes: &[u8], count: u32) -> Result<Self, Refusal> {
        let (len, max) = (bytes.len(), limits::WANT_BYTES_MAX);
        ensure!(len <= max, Oversized, "a bitmap of {len} bytes, more than the {max} allowed");
        let needed = count.div_ceil(8) as usize;
        ensure!(len == needed, Malformed, "a bitmap of {len} bytes for {count} chunks, which need {needed}");
        let behind = if count.is_multiple_of(8) { 0 } else { u8::MAX << (count % 8) };
        let clean = bytes.last().is_none_or(|last| last & behind == 0);
        ensure!(clean, Malformed, "a bitmap with bits behind the last of {count} chunks");
        Ok(Self { bytes: bytes.to_vec(), count })
    }

    /// As it is published on `want`.
    pub fn encode(&self) -> Vec<u8> {
        self.bytes.clone()
    }

    /// Of how many chunks it speaks.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Adds a chunk; one behind the last is passed over.
    pub fn set(&mut self, index: u32) {
        if index < self.count
            && let Some(byte) = self.bytes.get_mut(index as usize / 8)
        {
            *byte |= 1 << (index % 8);
        }
    }

    /// Takes a chunk away.
    pub fn clear(&mut self, index: u32) {
        if let Some(byte) = self.bytes.get_mut(index as usize / 8) {
            *byte &= !(1 << (index % 8));
        }
    }

    /// Whether a chunk is in it.
    pub fn has(&self, index: u32) -> bool {
        self.bytes.get(index as usize / 8).is_some_and(|byte| byte & (1 << (index % 8)) != 0)
    }

    /// The chunks that are in it, in order.
    pub fn present(&self) -> impl Iterator<Item = u32> {
        (0..self.count).filter(|index| self.has(*index))
    }

    /// The chunks that are not in it, in order.
    pub fn missing(&self) -> impl Iterator<Item = u32> {
        (0..self.count).filter(|index| !self.has(*index))
    }

    /// The chunks that are not in it, as a set: what to publish on `want` where this is what is there.
    pub fn wanted(&self) -> Self {
        let mut wanted = Self::new(self.count);
        self.missing().for_each(|index| wanted.set(index));
        wanted
    }
}

//! Real guests with some of their bytes changed.
//!
//! ```text
//! u8: 0 to 127  the rest is a module
//!     128 on    a guest, and edits until the input ends: u32 offset · u8 length (up to 16) · bytes
//! ```

use dunlin_guests::Artifact;

use crate::bytes::Reader;

const EDITS_MAX: usize = 64;
const RAW: u8 = 128;

/// The bytes that an input stands for, with these guests.
pub fn module(data: &[u8], guests: &[Artifact]) -> Vec<u8> {
    let mut input = Reader(data);
    let which = input.u8();
    if which < RAW {
        return input.0.to_vec();
    }
    let mut wasm = guests[usize::from(which - RAW) % guests.len()].bytes.to_vec();
    for _ in 0..EDITS_MAX {
        if input.is_empty() {
            break;
        }
        let at = input.u32() as usize % wasm.len();
        let len = usize::from(input.u8() % 16);
        let bytes = input.take(len);
        let room = bytes.len().min(wasm.len() - at);
        wasm[at..at + room].copy_from_slice(&bytes[..room]);
    }
    wasm
}

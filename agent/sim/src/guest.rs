//! The guests that boards run.

use dunlin_core::{
    limits::CHUNK_BYTES,
    wire::{Asks, Health, Listen, Module, Probe, Protocol, Release, Restart, Start, World},
};

/// The app of most boards.
pub(crate) const SLEEPER: &str = "sleeper";
/// The app of those with a real guest.
pub(crate) const HELLO: &str = "hello";

/// The port on which `hello` is published, on an address of each board's own.
pub(crate) const PORT: u16 = 7878;

/// Milliseconds that a release is on trial: a power cut within them takes it back.
pub(crate) const TRIAL_MS: u32 = 1_000;

/// Sleeps for an hour, again and again: `poll_oneoff` on one clock. One page of memory, which is the least.
const SLEEP: &str = r#"
(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "\01\00\00\00\00\00\00\00" "\00\a0\b8\30\46\03\00\00")
  (func (export "_start")
    (loop $again
      (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))
      (br $again))))
"#;

/// A module and the release of it.
pub(crate) struct Released {
    pub(crate) release: Release,
    pub(crate) module: Vec<u8>,
}

impl Released {
    /// Version `counter` of the guest that sleeps, in about so many bytes.
    pub(crate) fn sleeper(counter: u64, bytes: usize) -> anyhow::Result<Self> {
        let code = wat::parse_str(SLEEP)?;
        let asks = Asks { memory_bytes: 64 << 10, ..Asks::default() };
        let module = padded(code, bytes, counter);
        Ok(Self { release: release(SLEEPER, counter, &module, asks, Health::default())?, module })
    }

    /// Version `counter` of `guests/hello`.
    pub(crate) fn hello(counter: u64) -> anyhow::Result<Self> {
        let code = dunlin_guests::HELLO.bytes.to_vec();
        let listen = Listen { guest: PORT, host: Some(PORT), protocol: Protocol::Tcp, nonblocking: false };
        let asks = Asks { listen: vec![listen], memory_bytes: 2 << 20, ..Asks::default() };
        let probe = Probe::Http { port: PORT, path: "/".into(), status: 200 };
        let module = padded(code, 0, counter);
        Ok(Self { release: release(HELLO, counter, &module, asks, Health { probe, ..Health::default() })?, module })
    }
}

fn release(app: &str, counter: u64, module: &[u8], asks: Asks, health: Health) -> anyhow::Result<Release> {
    Ok(Release {
        app: app.parse()?,
        counter,
        version: format!("{counter}.0.0").parse()?,
        module: Module::describe(module, CHUNK_BYTES),
        world: World::Preview1,
        asks,
        health,
        restart: Restart::Always,
        start: Start::AtOnce,
        trial_ms: TRIAL_MS,
        drain_ms: 1_000,
        urls: vec![],
    })
}

/// A module made longer, and another for each version, by a custom section in which no chunk is like another.
fn padded(mut module: Vec<u8>, bytes: usize, version: u64) -> Vec<u8> {
    // Its name, and the version.
    let named = [&[1, b'x'], &version.to_le_bytes()[..]].concat();
    // A section's length is written in five bytes, whatever it is.
    let rest = bytes.saturating_sub(module.len() + 6 + named.len()) as u32;
    let length = named.len() as u32 + rest;
    module.push(0);
    module.extend((0..5).map(|byte| (length >> (7 * byte)) as u8 & 0x7f | if byte < 4 { 0x80 } else { 0 }));
    module.extend(named);
    module.extend((0..rest).map(|at| (at.wrapping_add(version as u32).wrapping_mul(2_654_435_761) >> 24) as u8));
    module
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_have_their_length_and_differ() {
        let [one, two] = [1, 2].map(|counter| Released::sleeper(counter, 64 << 10).unwrap());
        assert_eq!((one.module.len(), two.module.len()), (64 << 10, 64 << 10));
        let [one, two] = [&one, &two].map(|released| &released.release.module);
        assert_eq!(one.chunks.len(), 2);
        assert!(one.chunks.iter().all(|chunk| !two.chunks.contains(chunk)), "no chunk serves both");
    }
}

//! What a guest may use, and what it has used.
//!
//! Reaching a limit is an error number or a named fault for the guest, never a crash of the host.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use wasmi_core::{LimiterError, ResourceLimiter};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// The bounds of one guest.
///
/// [`call_depth`](Self::call_depth) and [`stack_bytes`](Self::stack_bytes) are built into a
/// program when it is compiled; the others hold for one start of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory, in bytes. All of it is resident, so this is what a guest costs a board.
    pub memory_bytes: usize,
    /// Elements of a table. Tables have their final size at the start (see `engine`).
    pub table_elements: usize,
    /// Wasm calls that may be open at once.
    pub call_depth: usize,
    /// Bytes that the values of those calls may take. Grows as it is used.
    pub stack_bytes: usize,
    /// Fuel after which a guest lets the other tasks run. One unit is about one instruction; a host
    /// call costs a thousand, and more for the bytes that it moves.
    pub fuel_slice: u64,
    /// Fuel per second, averaged over [`Limits::FUEL_BURST`]: a share of a core. `None`: no bound.
    pub fuel_per_second: Option<u64>,
    /// Time from the start until the guest is ended. `None`: as long as it likes.
    pub wall_clock: Option<Duration>,
    /// Descriptors that may be open at once, the three of stdio included.
    pub descriptors: usize,
}

impl Limits {
    /// The time over which [`Limits::fuel_per_second`] is averaged: a guest that was idle may
    /// spend this much at once.
    pub const FUEL_BURST: Duration = Duration::from_millis(100);
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // An unconfigured Rust guest starts with one, and all of a guest's memory is resident.
            memory_bytes: 16 * MIB,
            // A web server in Go has 9,400.
            table_elements: 65_536,
            // Deep enough for recursive parsers.
            call_depth: 8 * KIB,
            stack_bytes: MIB,
            // About 45 us on a PC.
            fuel_slice: 100_000,
            fuel_per_second: None,
            wall_clock: None,
            descriptors: 256,
        }
    }
}

/// Gauges of a running guest, or of several that share them. Anyone may read them while it runs.
#[derive(Debug, Default)]
pub struct Usage {
    fuel: AtomicU64,
    memory_bytes: AtomicUsize,
    disk_bytes: AtomicU64,
    connections_accepted: AtomicU64,
    connections_open: AtomicUsize,
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
    http_answers: AtomicU64,
    connections_changed: Notify,
}

impl Usage {
    /// Fuel spent since the start.
    pub fn fuel(&self) -> u64 {
        self.fuel.load(Ordering::Relaxed)
    }

    /// Size of the linear memory now, in bytes. Zero once the guest has ended.
    pub fn memory_bytes(&self) -> usize {
        self.memory_bytes.load(Ordering::Relaxed)
    }

    /// What is in the directories that have a limit, as it is counted for that. Zero once the guest has ended.
    pub fn disk_bytes(&self) -> u64 {
        self.disk_bytes.load(Ordering::Relaxed)
    }

    /// Connections accepted since the start.
    pub fn connections_accepted(&self) -> u64 {
        self.connections_accepted.load(Ordering::Relaxed)
    }

    /// Accepted connections that are still open.
    pub fn connections_open(&self) -> usize {
        self.connections_open.load(Ordering::Relaxed)
    }

    /// Bytes that it read from connections that it accepted.
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes.load(Ordering::Relaxed)
    }

    /// Bytes that it wrote to connections that it accepted.
    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes.load(Ordering::Relaxed)
    }

    /// Answers in HTTP/1 on connections that it accepted. Of requests that came at once, before the first was
    /// answered, one counts.
    pub fn http_answers(&self) -> u64 {
        self.http_answers.load(Ordering::Relaxed)
    }

    /// Until the number of open connections is such a one.
    pub async fn connections(&self, wanted: impl Fn(usize) -> bool) {
        loop {
            let changed = self.connections_changed.notified();
            if wanted(self.connections_open()) {
                return;
            }
            changed.await;
        }
    }

    /// Counts a connection that somebody else accepted for the guest, until what is returned is dropped.
    pub fn connection(self: &Arc<Self>) -> Connection {
        self.opened();
        Connection(Arc::clone(self))
    }

    pub(crate) fn spent(&self, fuel: u64) {
        self.fuel.fetch_add(fuel, Ordering::Relaxed);
    }

    pub(crate) fn disk_grew(&self, bytes: u64) {
        self.disk_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn disk_shrank(&self, bytes: u64) {
        self.disk_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Counts bytes that came to the guest on a connection that somebody else accepted for it.
    pub fn received(&self, bytes: usize) {
        self.received_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts bytes that the guest sent on such a connection.
    pub fn sent(&self, bytes: usize) {
        self.sent_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts an answer in HTTP.
    pub fn answered_http(&self) {
        self.http_answers.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn opened(&self) {
        self.connections_accepted.fetch_add(1, Ordering::Relaxed);
        self.connections_open.fetch_add(1, Ordering::Relaxed);
        self.connections_changed.notify_waiters();
    }

    pub(crate) fn closed(&self) {
        self.connections_open.fetch_sub(1, Ordering::Relaxed);
        self.connections_changed.notify_waiters();
    }
}

/// One of the connections that [`Usage`] counts.
#[derive(Debug)]
pub struct Connection(Arc<Usage>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.closed();
    }
}

/// Tables that a module may have. Languages use one; the component model's shims a second.
pub(crate) const TABLES_MAX: usize = 8;

/// The limiter that wasmi asks before it grows anything.
pub(crate) struct Quota {
    memory_bytes_max: usize,
    table_elements_max: usize,
    /// Set when the guest has been set up: from then on no table grows (see `engine`).
    pub(crate) started: bool,
    /// Bytes that the guest asked for and was refused, until a later request is granted.
    pub(crate) refused_bytes: Option<usize>,
    /// What all memories were, and the one before it last grew, for when the machine cannot give what was granted.
    memory_bytes: usize,
    memory_bytes_before: usize,
    /// Core instances that the program makes, each with a memory of its own at most.
    pub(crate) instances_max: usize,
    usage: Arc<Usage>,
}

impl Quota {
    pub(crate) fn new(limits: &Limits, usage: Arc<Usage>) -> Self {
        Self {
            memory_bytes_max: limits.memory_bytes,
            table_elements_max: limits.table_elements,
            started: false,
            refused_bytes: None,
            memory_bytes: 0,
            memory_bytes_before: 0,
            instances_max: 1,
            usage,
        }
    }

    pub(crate) fn usage(&self) -> &Arc<Usage> {
        &self.usage
    }

    /// Tells the gauge, which several guests may share.
    fn set_memory(&mut self, bytes: usize) {
        self.usage.memory_bytes.fetch_sub(self.memory_bytes, Ordering::Relaxed);
        self.usage.memory_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.memory_bytes = bytes;
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        self.set_memory(0);
    }
}

impl ResourceLimiter for Quota {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool, LimiterError> {
        // Beyond what the module itself declares, it is the module's own doing.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let total = self.memory_bytes.saturating_sub(current).saturating_add(desired);
        if total > self.memory_bytes_max {
            self.refused_bytes = Some(total);
            return Ok(false);
        }
        self.refused_bytes = None;
        self.memory_bytes_before = self.memory_bytes;
        self.set_memory(total);
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool, LimiterError> {
        let allowed = desired <= self.table_elements_max && (!self.started || desired == current);
        Ok(allowed)
    }

    fn memory_grow_failed(&mut self, _error: &wasmi::errors::MemoryError) -> Result<(), LimiterError> {
        // The machine itself has no more to give. The guest sees the same -1 as at its limit.
        self.set_memory(self.memory_bytes_before);
        Ok(())
    }

    fn instances(&self) -> usize {
        self.instances_max
    }

    fn tables(&self) -> usize {
        TABLES_MAX
    }

    fn memories(&self) -> usize {
        self.instances_max
    }
}

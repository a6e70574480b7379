//! Where a guest's listener leads: its owner may change that while the guest runs.
//!
//! So a new release is tried behind a socket of its own, takes the published one when it is well, and
//! leaves it to the next: the kernel's queue of connections is one and the same all the while.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::net::{TcpListener, TcpStream};

/// A listening socket's place, as its owner and the guests behind it share it.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Counts the changes: who remembers another number looks again.
    turn: AtomicU64,
    /// Numbers the watches.
    watches: AtomicU64,
    place: Mutex<Place>,
}

#[derive(Debug)]
struct Place {
    leads_to: Option<Arc<TcpListener>>,
    last_call: bool,
    /// By their watches' numbers.
    waiting: BTreeMap<u64, Waker>,
}

/// Somebody's own view of a gate, to wait at it. Dropped, it waits no more.
#[derive(Debug)]
pub(crate) struct Watch {
    gate: Gate,
    number: u64,
}

impl From<Arc<TcpListener>> for Gate {
    fn from(socket: Arc<TcpListener>) -> Self {
        let place = Place { leads_to: Some(prepared(socket)), last_call: false, waiting: BTreeMap::new() };
        Self(Arc::new(Shared { turn: AtomicU64::new(0), watches: AtomicU64::new(0), place: Mutex::new(place) }))
    }
}

impl From<TcpListener> for Gate {
    fn from(socket: TcpListener) -> Self {
        Arc::new(socket).into()
    }
}

impl Gate {
    /// The guest accepts here from now on. What waits at the socket before this one stays there.
    pub fn lead_to(&self, socket: Arc<TcpListener>) {
        self.change(|place| place.leads_to = Some(prepared(socket)));
    }

    /// The guest accepts nothing any more, and goes on with the connections that it has.
    pub fn shut(&self) {
        self.change(|place| place.leads_to = None);
    }

    /// Connections on which the guest has answered, and waits for more, are at their end for it: a
    /// request that comes later was seen by nobody, and its client may ask again elsewhere.
    pub fn last_call(&self) {
        self.change(|place| place.last_call = true);
    }

    /// The next connection, wherever the gate leads by then. Dropping the future loses none.
    ///
    /// # Errors
    ///
    /// The machine's, as when it has no descriptor left.
    pub async fn accept(&self) -> io::Result<TcpStream> {
        loop {
            let (turn, socket) = (self.turn(), self.socket());
            let Some(socket) = socket else {
                self.change_after(turn).await;
                continue;
            };
            tokio::select! {
                accepted = socket.accept() => return accepted.map(|(stream, _)| stream),
                () = self.change_after(turn) => {}
            }
        }
    }

    /// Whether nothing more is accepted here.
    pub fn is_shut(&self) -> bool {
        self.place().leads_to.is_none()
    }

    /// Until the [last call](Self::last_call).
    pub async fn last_called(&self) {
        loop {
            let turn = self.turn();
            if self.is_last_call() {
                return;
            }
            self.change_after(turn).await;
        }
    }

    async fn change_after(&self, turn: u64) {
        let watch = self.watch();
        poll_fn(|cx| {
            // First the waker: what changes in between wakes it.
            watch.wait(cx);
            if self.turn() == turn { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }

    pub(crate) fn turn(&self) -> u64 {
        self.0.turn.load(Ordering::Acquire)
    }

    pub(crate) fn socket(&self) -> Option<Arc<TcpListener>> {
        self.place().leads_to.clone()
    }

    pub(crate) fn is_last_call(&self) -> bool {
        self.place().last_call
    }

    pub(crate) fn watch(&self) -> Watch {
        Watch { gate: self.clone(), number: self.0.watches.fetch_add(1, Ordering::Relaxed) }
    }

    fn change(&self, change: impl FnOnce(&mut Place)) {
        let mut place = self.place();
        change(&mut place);
        let waiting = std::mem::take(&mut place.waiting);
        // Before anybody can wait again: they would wait for the change after this one.
        self.0.turn.fetch_add(1, Ordering::Release);
        drop(place);
        waiting.into_values().for_each(Waker::wake);
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        // A place cannot be left half-changed by a panic.
        self.0.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// Wakes this task at the next change.
    pub(crate) fn wait(&self, cx: &Context<'_>) {
        // The one before goes when the place is free again: with it can go a task, and that one's watches.
        let _before = self.place().waiting.insert(self.number, cx.waker().clone());
    }
}

impl Deref for Watch {
    type Target = Gate;

    fn deref(&self) -> &Gate {
        &self.gate
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _waker = self.place().waiting.remove(&self.number);
    }
}

/// Connections inherit it. A guest that writes head and body apart would otherwise wait for the peer's
/// delayed acknowledgement, and preview 1 has no way to ask for it.
fn prepared(socket: Arc<TcpListener>) -> Arc<TcpListener> {
    // A listener that will not have it is as good, only slower.
    let _ = rustix::net::sockopt::set_tcp_nodelay(&*socket, true);
    socket
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    #[tokio::test]
    async fn who_waits_no_more_leaves_nothing_behind() {
        let gate = Gate::from(TcpListener::bind("127.0.0.1:0").await.unwrap());
        let mut cx = Context::from_waker(Waker::noop());
        let mut stays = pin!(gate.last_called());
        assert!(stays.as_mut().poll(&mut cx).is_pending());
        for _ in 0..100 {
            assert!(pin!(gate.last_called()).poll(&mut cx).is_pending());
            assert!(pin!(gate.accept()).poll(&mut cx).is_pending());
        }
        assert_eq!(gate.place().waiting.len(), 1);
        gate.last_call();
        assert!(stays.poll(&mut cx).is_ready());
        assert!(gate.place().waiting.is_empty());
    }

    #[tokio::test]
    async fn each_who_waits_is_woken() {
        let gate = Gate::from(TcpListener::bind("127.0.0.1:0").await.unwrap());
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..100 {
            let gate = gate.clone();
            waiting.spawn(async move { gate.last_called().await });
        }
        while gate.place().waiting.len() < 100 {
            tokio::task::yield_now().await;
        }
        gate.last_call();
        assert_eq!(waiting.join_all().await.len(), 100);
    }
}

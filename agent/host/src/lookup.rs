//! Names and their addresses, looked up by few threads: the machine's resolver can be neither interrupted nor hurried.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::{JoinSet, spawn_blocking};

/// A lookup under way. Dropped, it is given up, but for the thread that is at it.
pub(crate) type Lookup = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Threads that look up names, of all guests together. The runtime has few, and saving, hashing and compiling need
/// them too: a plan that ends a guest must not wait for what that guest asked.
const THREADS_MAX: usize = 8;

/// Those of them that may be at the names of guests who have one already. One is everybody's own, so that the
/// others get answers where somebody's names have none.
const MORE_THREADS_MAX: usize = 2;

/// How long a lookup may take, its turn included.
const PATIENCE: Duration = Duration::from_secs(10);

static THREADS: Threads = Threads::new();

struct Threads {
    all: Semaphore,
    more: Semaphore,
}

impl Threads {
    const fn new() -> Self {
        Self { all: Semaphore::const_new(THREADS_MAX), more: Semaphore::const_new(MORE_THREADS_MAX) }
    }
}

/// The right to look up names. Who has a clone shares it: instances of one guest, and its runs one after the other,
/// since a thread may still be at a name that an earlier one asked for.
#[derive(Clone)]
pub struct Lookups {
    own: Arc<Semaphore>,
    threads: &'static Threads,
    ask: fn(&str) -> io::Result<Vec<IpAddr>>,
}

impl Default for Lookups {
    /// Of a guest that shares it with nobody.
    fn default() -> Self {
        Self::new(&THREADS, ask)
    }
}

impl fmt::Debug for Lookups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookups").finish_non_exhaustive()
    }
}

impl Lookups {
    fn new(threads: &'static Threads, ask: fn(&str) -> io::Result<Vec<IpAddr>>) -> Self {
        Self { own: Arc::new(Semaphore::new(1)), threads, ask }
    }

    /// Begins to look up a name. It is a task of its own, which gives its turn to nobody who does not take it: a
    /// guest need not look at what it began.
    pub(crate) fn begin(&self, name: String) -> Lookup {
        let (own, Threads { all, more }, ask) = (Arc::clone(&self.own), self.threads, self.ask);
        let looked_up = async move {
            let turn = tokio::select! {
                biased;
                own = own.acquire_owned() => own.map(|own| (Some(own), None)),
                more = more.acquire() => more.map(|more| (None, Some(more))),
            };
            let turn = turn.map_err(io::Error::other)?;
            let of_all = all.acquire().await.map_err(io::Error::other)?;
            // The thread is occupied until it is done, whoever has stopped waiting for it.
            let asked = spawn_blocking(move || {
                let found = ask(&name);
                drop((turn, of_all));
                found
            });
            asked.await?
        };
        let mut task = JoinSet::new();
        task.spawn(async { tokio::time::timeout(PATIENCE, looked_up).await.map_err(|_| io::ErrorKind::TimedOut)? });
        Box::pin(async move {
            let outcome = task.join_next().await;
            outcome.unwrap_or_else(|| Ok(Err(io::ErrorKind::TimedOut.into())))?
        })
    }
}

/// Asks the machine's resolver: each address once, and in its order.
fn ask(name: &str) -> io::Result<Vec<IpAddr>> {
    let mut seen = BTreeSet::new();
    Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).filter(|ip| seen.insert(*ip)).collect())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::{Condvar, Mutex, PoisonError};

    use tokio::runtime::Runtime;
    use tokio::time::timeout;

    use super::*;

    const LONG: Duration = Duration::from_secs(9);

    /// A resolver that answers `quick`, and nothing else before it is told to.
    #[derive(Default)]
    struct Resolver {
        asked: usize,
        answers: bool,
    }

    /// One per test: what asks is a plain function.
    type Shared = (Mutex<Resolver>, Condvar);

    const fn resolver() -> Shared {
        (Mutex::new(Resolver { asked: 0, answers: false }), Condvar::new())
    }

    fn hang((resolver, changed): &Shared, name: &str) -> io::Result<Vec<IpAddr>> {
        let mut held = resolver.lock().unwrap();
        if name != "quick" {
            held.asked += 1;
            changed.notify_all();
            drop(changed.wait_while(held, |resolver| !resolver.answers).unwrap());
        }
        Ok(vec![Ipv4Addr::LOCALHOST.into()])
    }

    /// Waits, on a thread, until so many names are being asked for.
    fn asked((resolver, changed): &Shared, count: usize) -> usize {
        let held = resolver.lock().unwrap();
        changed.wait_timeout_while(held, LONG, |resolver| resolver.asked < count).unwrap().0.asked
    }

    /// Lets it answer, also where a test fails: else the runtime waits for its threads.
    struct Release(&'static Shared);

    impl Drop for Release {
        fn drop(&mut self) {
            self.0.0.lock().unwrap_or_else(PoisonError::into_inner).answers = true;
            self.0.1.notify_all();
        }
    }

    /// With two threads more than lookups may have: for who waits for them, and for what else there is to do.
    fn runtime() -> Runtime {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.max_blocking_threads(THREADS_MAX + 2).enable_all().build().unwrap()
    }

    #[test]
    fn lookups_that_hang_leave_threads_to_others() {
        static THREADS: Threads = Threads::new();
        static RESOLVER: Shared = resolver();
        let runtime = runtime();
        let _release = Release(&RESOLVER);
        runtime.block_on(async {
            let guests =
                (0..THREADS_MAX).map(|_| Lookups::new(&THREADS, |name| hang(&RESOLVER, name))).collect::<Vec<_>>();
            let begin = || guests.iter().flat_map(|guest| (0..8).map(|_| guest.begin("slow".into())));
            // Given up while they hang, and begun again: the threads are still at the first ones.
            for _ in 0..4 {
                let begun = begin().collect::<Vec<_>>();
                let slow = timeout(LONG, spawn_blocking(|| asked(&RESOLVER, THREADS_MAX))).await;
                assert_eq!(slow.expect("no thread is left").unwrap(), THREADS_MAX);
                drop(begun);
            }
            let begun = begin().collect::<Vec<_>>();
            timeout(LONG, spawn_blocking(|| ())).await.expect("no thread is left").unwrap();
            assert_eq!(asked(&RESOLVER, THREADS_MAX), THREADS_MAX);
            // They go on when the resolver does, and nobody has to look at one for the next.
            drop(Release(&RESOLVER));
            for lookup in begun.into_iter().rev() {
                assert_eq!(lookup.await.unwrap(), [Ipv4Addr::LOCALHOST]);
            }
        });
    }

    #[test]
    fn guests_whose_lookups_hang_do_not_hold_up_another() {
        const HOSTILE: usize = THREADS_MAX - MORE_THREADS_MAX - 1;
        const HELD: usize = HOSTILE + MORE_THREADS_MAX;
        static THREADS: Threads = Threads::new();
        static RESOLVER: Shared = resolver();
        let runtime = runtime();
        let _release = Release(&RESOLVER);
        runtime.block_on(async {
            let lookups = || Lookups::new(&THREADS, |name| hang(&RESOLVER, name));
            let hostile = (0..HOSTILE).map(|_| lookups()).collect::<Vec<_>>();
            // Each of them is several instances.
            let instances = hostile.iter().flat_map(|guest| [guest.clone(), guest.clone()]);
            let _begun =
                instances.flat_map(|guest| (0..8).map(move |_| guest.begin("slow".into()))).collect::<Vec<_>>();
            let slow = timeout(LONG, spawn_blocking(|| asked(&RESOLVER, HELD))).await;
            assert_eq!(slow.expect("no thread is left").unwrap(), HELD);
            let other = lookups();
            for _ in 0..4 {
                assert_eq!(other.begin("quick".into()).await.unwrap(), [Ipv4Addr::LOCALHOST]);
            }
            assert_eq!(asked(&RESOLVER, HELD), HELD);
        });
    }
}

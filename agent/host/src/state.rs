//! Everything that one guest is, besides its interpreter's state.

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::task::Poll;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::bus::Mailbox;
use crate::fault::{Fault, FaultKind};
use crate::fds::{Fds, Interest, Permits};
use crate::guest::{Guest, NotStarted, Observer, Stream};
use crate::lookup::{Lookup, Lookups};
use crate::p1;
#[cfg(feature = "components")]
use crate::p2;
use crate::quota::{Limits, Quota};

/// What the store of a guest holds, and host functions work on.
pub(crate) struct State {
    pub(crate) args: Vec<String>,
    /// `NAME=value` each.
    pub(crate) env: Vec<String>,
    pub(crate) fds: Fds,
    pub(crate) permits: Permits,
    pub(crate) lookups: Lookups,
    pub(crate) mailbox: Option<Mailbox>,
    pub(crate) console: Console,
    /// The linear memory exported as `memory`, if there is one.
    pub(crate) memory: Option<wasmi::Memory>,
    /// The host call that suspended the guest.
    pub(crate) suspended: Option<Suspended>,
    pub(crate) wait: Wait,
    pub(crate) last_call: Option<&'static str>,
    /// What host calls cost in fuel, beyond what every call does, and what was not paid yet.
    pub(crate) work: u64,
    pub(crate) quota: Quota,
    pub(crate) limits: Limits,
    #[cfg(feature = "components")]
    pub(crate) p2: p2::Host,
}

/// A call that a guest is suspended in, by what it speaks.
pub(crate) enum Suspended {
    P1(p1::Call),
    #[cfg(feature = "components")]
    P2(p2::Call),
}

impl State {
    pub(crate) fn new(guest: Guest) -> Result<Self, NotStarted> {
        let Guest { args, env, stdin, directories, listeners, grants, lookups, bus, limits, observer, usage, .. } =
            guest;
        let listen_fds = (!listeners.is_empty()).then(|| format!("LISTEN_FDS={}", listeners.len()));
        let env = env
            .into_iter()
            .filter(|(name, _)| name != "LISTEN_FDS")
            .map(|(name, value)| format!("{name}={value}"))
            .chain(listen_fds)
            .collect::<Vec<_>>();
        if let Some(text) = args.iter().chain(&env).find(|text| text.contains('\0')) {
            return Err(NotStarted::Nul { text: text.clone() });
        }
        let permits = Permits::new(grants, &listeners);
        let fds = Fds::new(stdin, directories, listeners, limits.descriptors, &usage)?;
        Ok(Self {
            args,
            env,
            fds,
            permits,
            lookups,
            mailbox: bus.map(Mailbox::new),
            console: Console::new(observer),
            memory: None,
            suspended: None,
            wait: Wait::default(),
            last_call: None,
            work: 0,
            quota: Quota::new(&limits, usage),
            limits,
            #[cfg(feature = "components")]
            p2: p2::Host::new(guest.client),
        })
    }

    /// Until the first of what the guest waits for.
    pub(crate) async fn wait(&mut self) {
        #[cfg(feature = "components")]
        let Self { wait, fds, permits, mailbox, p2, .. } = self;
        #[cfg(not(feature = "components"))]
        let Self { wait, fds, mailbox, .. } = self;
        if let Some(job) = &mut wait.job {
            let outcome = job.await.unwrap_or_else(|error| Err(io::Error::other(error)));
            (wait.job, wait.finished) = (None, Some(outcome));
            return;
        }
        if let Some(lookup) = &mut wait.lookup {
            let outcome = lookup.await;
            (wait.lookup, wait.resolved) = (None, Some(outcome));
            return;
        }
        if wait.turn {
            return tokio::task::yield_now().await;
        }
        let mut sleep = pin!(wait.until.map(tokio::time::sleep_until));
        poll_fn(|cx| {
            for &(fd, interest) in &wait.on {
                if fds.poll_ready(fd, interest, cx).is_ready() {
                    return Poll::Ready(());
                }
            }
            if wait.message && mailbox.as_mut().is_some_and(|mailbox| mailbox.bus.poll_ready(cx).is_ready()) {
                return Poll::Ready(());
            }
            #[cfg(feature = "components")]
            if p2.poll(fds, permits, cx).is_ready() {
                return Poll::Ready(());
            }
            match sleep.as_mut().as_pin_mut() {
                Some(sleep) => sleep.poll(cx),
                None => Poll::Pending,
            }
        })
        .await;
    }

    pub(crate) fn fault(&self, kind: FaultKind) -> Fault {
        Fault { kind, last_call: self.last_call, last_words: self.console.last_words() }
    }
}

/// What a suspended guest waits for: the first of these to happen.
#[derive(Default)]
pub(crate) struct Wait {
    /// Descriptors. The allocation is kept from one wait to the next.
    pub(crate) on: Vec<(u32, Interest)>,
    pub(crate) until: Option<Instant>,
    /// A message.
    pub(crate) message: bool,
    /// Its next turn, when the others had theirs.
    pub(crate) turn: bool,
    /// When the call was first tried: what relative timeouts count from.
    pub(crate) since: Option<Instant>,
    /// Bytes that the call has put into the guest's memory so far, where it wants all of them.
    pub(crate) received: u32,
    /// How much of a directory the call has listed so far: bytes, and the place of the next entry.
    pub(crate) listed: Option<(usize, u64)>,
    /// What a thread of the runtime does for the guest meanwhile.
    pub(crate) job: Option<JoinHandle<io::Result<u32>>>,
    /// What came of it, for the call when it is tried again.
    pub(crate) finished: Option<io::Result<u32>>,
    /// The lookup of a name, and what came of it.
    pub(crate) lookup: Option<Lookup>,
    pub(crate) resolved: Option<io::Result<Vec<IpAddr>>>,
}

impl Wait {
    /// Forgets what an earlier attempt waited for.
    pub(crate) fn clear(&mut self) {
        self.on.clear();
        self.until = None;
        self.message = false;
        self.turn = false;
    }
}

/// Where a guest's output goes, and the end of what it said on stderr.
pub(crate) struct Console {
    observer: Box<dyn Observer>,
    accepting: bool,
    tail: Vec<u8>,
}

impl Console {
    /// Enough for a panic's message with its file and line.
    const TAIL_BYTES_MAX: usize = 512;

    fn new(observer: Box<dyn Observer>) -> Self {
        Self { observer, accepting: false, tail: Vec::new() }
    }

    pub(crate) fn write(&mut self, stream: Stream, bytes: &[u8]) {
        self.observer.output(stream, bytes);
        if stream == Stream::Stderr {
            let kept = &bytes[bytes.len().saturating_sub(Self::TAIL_BYTES_MAX)..];
            let excess = (self.tail.len() + kept.len()).saturating_sub(Self::TAIL_BYTES_MAX);
            self.tail.drain(..excess);
            self.tail.extend_from_slice(kept);
        }
    }

    pub(crate) fn accepting(&mut self) {
        if !self.accepting {
            self.accepting = true;
            self.observer.accepting();
        }
    }

    /// The whole lines in it, or the end of the one that is too long.
    fn last_words(&self) -> String {
        let text = String::from_utf8_lossy(&self.tail);
        let whole = match text.trim_end().split_once('\n') {
            Some((_, rest)) if self.tail.len() == Self::TAIL_BYTES_MAX => rest,
            _ => &text,
        };
        whole.trim().to_owned()
    }
}

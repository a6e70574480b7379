//! Tells systemd that the agent is ready and alive (sd_notify(3)); silent where nobody asked.

use std::{
    env, io,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// The service manager, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Manager {
    socket: Option<UnixDatagram>,
    ready: bool,
    watchdog: Option<(Duration, Instant)>,
}

impl Manager {
    /// The manager that started us, as the environment says.
    pub(crate) fn from_env() -> Self {
        let socket = env::var("NOTIFY_SOCKET").ok().and_then(|name| match connect(&name) {
            Ok(socket) => Some(socket),
            Err(error) => {
                tracing::warn!("NOTIFY_SOCKET={name} is of no use: {error}");
                None
            }
        });
        // Twice as often as asked, as sd_watchdog_enabled(3) advises.
        let microseconds = env::var("WATCHDOG_USEC").ok().and_then(|text| text.parse().ok()).filter(|us| *us > 0);
        let watchdog = microseconds.map(|us: u64| (Duration::from_micros(us / 2), Instant::now()));
        Self { socket, ready: false, watchdog }
    }

    /// The agent is up: said once.
    pub(crate) fn ready(&mut self) {
        if !self.ready {
            self.ready = true;
            self.say("READY=1");
        }
    }

    /// The agent ends because it was asked to.
    pub(crate) fn stopping(&self) {
        self.say("STOPPING=1");
    }

    /// Ready when the watchdog wants to hear from us; never, if there is none.
    pub(crate) async fn watchdog_due(&self) {
        match self.watchdog {
            Some((_, due)) => sleep_until(due).await,
            None => std::future::pending().await,
        }
    }

    /// The loop goes round.
    pub(crate) fn feed_watchdog(&mut self) {
        if let Some((interval, due)) = &mut self.watchdog {
            *due = Instant::now() + *interval;
            self.say("WATCHDOG=1");
        }
    }

    fn say(&self, words: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(words.as_bytes())
        {
            tracing::warn!("the service manager does not hear {words}: {error}");
        }
    }
}

fn connect(name: &str) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    // A full queue must not hold up guests.
    socket.set_nonblocking(true)?;
    match name.strip_prefix('@') {
        Some(name) => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        None => socket.connect(name)?,
    }
    Ok(socket)
}

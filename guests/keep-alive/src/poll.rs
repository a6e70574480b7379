//! Which sockets are ready.

use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;

/// Sockets to wait for. The list keeps its memory from one wait to the next.
#[derive(Default)]
pub(crate) struct Poll(Vec<libc::pollfd>);

impl Poll {
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// A socket that is waited for until it can be written to, or else be read.
    pub(crate) fn add(&mut self, socket: &impl AsRawFd, to_write: bool) {
        let events = if to_write { libc::POLLOUT } else { libc::POLLIN };
        self.0.push(libc::pollfd { fd: socket.as_raw_fd(), events, revents: 0 });
    }

    /// Until at least one of them is ready.
    pub(crate) fn wait(&mut self) -> io::Result<()> {
        const FOREVER: libc::c_int = -1;

        #[expect(unsafe_code, reason = "std has no way to wait for several sockets")]
        // SAFETY: the list is as long as it says, and nobody else has it during the call.
        let ready = unsafe { libc::poll(self.0.as_mut_ptr(), self.0.len() as libc::nfds_t, FOREVER) };
        if ready >= 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() == ErrorKind::Interrupted { Ok(()) } else { Err(error) }
    }

    /// Of each whether it is ready, or has failed and will say so.
    pub(crate) fn ready(&self) -> impl Iterator<Item = bool> {
        self.0.iter().map(|socket| socket.revents != 0)
    }
}

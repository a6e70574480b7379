//! Serves on the listener that the host hands it as a descriptor: the first after stdio and the directories,
//! of which this guest asks for none.

use std::io;
use std::net::TcpListener;
use std::os::fd::FromRawFd;

const LISTENER: i32 = 3;

fn main() -> io::Result<()> {
    #[expect(unsafe_code, reason = "a descriptor that the host opened is only a number to us")]
    // SAFETY: the host opened it for this program, and nothing else here uses it.
    let listener = unsafe { TcpListener::from_raw_fd(LISTENER) };
    println!("keep-alive: listening");
    keep_alive::serve(listener)
}

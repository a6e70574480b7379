//! A web server that serves many connections at once and keeps them, without threads and without a runtime.
//!
//! This is how: no socket blocks, so that no client can hold up another one. One loop asks `poll`, which in
//! WASI preview 1 is `poll_oneoff`, which of them have something to do, and lets each of those go on as far as it
//! can at once. A guest that waits in it costs the board nothing but its memory.

mod connection;
mod poll;

use std::io::{self, ErrorKind};
use std::net::TcpListener;

use connection::Connection;
use poll::Poll;

/// Connections that are kept. For one more, the one that was silent longest is closed.
pub const CONNECTIONS_MAX: usize = 64;

/// Serves until the listener fails.
///
/// # Errors
///
/// What polling or accepting says that is no client's doing.
pub fn serve(listener: TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let mut connections = Vec::<Connection>::new();
    let mut poll = Poll::default();
    // One for all: what is not a whole request yet is kept by its connection.
    let mut buffer = [0; 4096];
    for turn in 0_u64.. {
        poll.clear();
        poll.add(&listener, false);
        for connection in &connections {
            poll.add(connection.stream(), connection.has_to_write());
        }
        poll.wait()?;
        // They are told in the order in which they were added.
        let mut ready = poll.ready();
        let knocks = ready.next() == Some(true);
        connections.retain_mut(|connection| ready.next() != Some(true) || connection.advance(turn, &mut buffer));
        if knocks {
            accept(&listener, turn, &mut connections)?;
        }
    }
    Ok(())
}

/// Takes everybody who waits.
fn accept(listener: &TcpListener, turn: u64, connections: &mut Vec<Connection>) -> io::Result<()> {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            // It was gone again before it was its turn.
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
            Err(error) => return Err(error),
        };
        if connections.len() == CONNECTIONS_MAX {
            let silent = connections.iter().enumerate().min_by_key(|(_, connection)| connection.last_turn());
            if let Some((index, _)) = silent {
                connections.swap_remove(index);
            }
        }
        connections.push(Connection::new(stream, turn)?);
    }
}

//! Lines that are not good: what passes between a board and the broker is held up, or ends.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use crate::chance::Chance;

/// Bytes that pass at a time.
const PIECE: usize = 8 * 1024;

/// Bytes from the broker after which a lossy line is cut: within a chunk, or after some.
const CUT_AFTER: std::ops::Range<u64> = 4 * 1024..256 * 1024;

/// Bytes a second of a slow line, each way.
const SLOW_BYTES_PER_SECOND: u64 = 64 * 1024;

/// Milliseconds that each piece is on its way over a slow line.
const AWAY_MS: std::ops::Range<u64> = 50..300;

/// How a line is bad.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Line {
    /// Each of its connections is cut.
    Lossy,
    /// It takes its time.
    Slow,
}

/// What one connection is in for.
#[derive(Clone, Copy, Debug)]
struct Fate {
    cut_after: Option<u64>,
    away: Option<Duration>,
}

/// Where boards reach the broker over lines of one kind.
#[derive(Debug)]
pub(crate) struct Place {
    line: Line,
    broker: SocketAddr,
    chance: Chance,
    listener: std::net::TcpListener,
}

impl Place {
    /// A place on a free port. What comes waits until it is [served](Self::serve).
    pub(crate) fn open(line: Line, broker: SocketAddr, chance: Chance) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        Ok(Self { line, broker, chance, listener })
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Takes connections for as long as it is not dropped.
    pub(crate) async fn serve(self) -> io::Result<()> {
        let Self { line, broker, mut chance, listener } = self;
        let listener = TcpListener::from_std(listener)?;
        loop {
            // A connection that could not be taken is tried again by its board.
            if let Ok((board, _)) = listener.accept().await {
                let fate = line.fate(&mut chance);
                tokio::spawn(async move { drop(join(board, broker, fate).await) });
            }
        }
    }
}

impl Line {
    fn fate(self, chance: &mut Chance) -> Fate {
        match self {
            Self::Lossy => Fate { cut_after: Some(chance.among(CUT_AFTER)), away: None },
            Self::Slow => Fate { cut_after: None, away: Some(chance.time(AWAY_MS)) },
        }
    }
}

/// Both ways, until one of them ends.
async fn join(board: TcpStream, broker: SocketAddr, fate: Fate) -> io::Result<()> {
    let broker = TcpStream::connect(broker).await?;
    board.set_nodelay(true)?;
    broker.set_nodelay(true)?;
    let ((from_board, to_board), (from_broker, to_broker)) = (board.into_split(), broker.into_split());
    tokio::select! {
        end = carry(from_broker, to_board, fate) => end,
        end = carry(from_board, to_broker, Fate { cut_after: None, ..fate }) => end,
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, fate: Fate) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    let mut left = fate.cut_after;
    loop {
        let read = from.read(&mut piece).await?;
        if read == 0 {
            return Ok(());
        }
        if let Some(left) = &mut left {
            let Some(after) = left.checked_sub(read as u64) else {
                return Err(io::ErrorKind::ConnectionAborted.into());
            };
            *left = after;
        }
        if let Some(away) = fate.away {
            tokio::time::sleep(away + Duration::from_secs(read as u64) / SLOW_BYTES_PER_SECOND as u32).await;
        }
        to.write_all(&piece[..read]).await?;
    }
}

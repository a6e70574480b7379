//! One place where a door is open: connections, so many and for so long, and TLS.
//!
//! Each connection is a task beside the guests' on the one thread. What bounds them is said in
//! [`limits`](dunlin_core::limits): how many there are, how long a head may take and how long it may be, and
//! how long somebody may not read what was answered.

use std::{
    convert::Infallible,
    fs, io,
    net::{IpAddr, SocketAddr},
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use dunlin_core::limits::{
    DOOR_CONNECTIONS_MAX, FRONT_CONNECTIONS_MAX, HTTP_HEAD_BYTES_MAX, HTTP_HEAD_MS, HTTP_HEADERS_MAX, HTTP_STALL_MS,
};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use super::{
    body::Body,
    certificate::InUse,
    front::Front,
    routes::Door,
    settings::{Certificate, Place},
};
use crate::patient::Patient;

/// How long to wait before a place is tried again that could not be had.
const AGAIN: Duration = Duration::from_secs(5);

/// How long to wait when there is no descriptor for one more connection.
const BREATH: Duration = Duration::from_millis(100);

/// What is behind a door.
#[derive(Clone)]
pub(super) enum Room {
    Door(Arc<Door>),
    Front(Arc<Front>),
}

/// One place, and what is answered there.
pub(super) struct Service {
    pub(super) place: Place,
    pub(super) certificate: Option<Certificate>,
    pub(super) room: Room,
}

/// Who is at the other end of a connection, and what becomes of it.
pub(super) struct Caller {
    /// Nobody's, on a socket in a folder.
    pub(super) address: Option<IpAddr>,
    pub(super) tls: bool,
    after: Mutex<Option<After>>,
}

/// What a connection does when it speaks HTTP no more.
type After = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Caller {
    /// When this connection speaks HTTP no more, it does that.
    pub(super) fn afterwards(&self, after: impl Future<Output = ()> + Send + 'static) {
        *self.after.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::pin(after));
    }
}

impl Room {
    async fn answer(&self, caller: &Caller, request: Request<Incoming>) -> Response<Body> {
        match self {
            Self::Door(door) => door.answer(&request),
            Self::Front(front) => front.answer(caller, request).await,
        }
    }

    fn connections_max(&self) -> usize {
        match self {
            Self::Door(_) => DOOR_CONNECTIONS_MAX,
            Self::Front(_) => FRONT_CONNECTIONS_MAX,
        }
    }
}

impl Service {
    /// Serves for as long as it is polled.
    pub(super) async fn run(self) {
        let mut told = None;
        loop {
            match self.open().await {
                Ok((socket, tls)) => self.serve(socket, tls).await,
                Err(why) if told.as_ref() == Some(&why) => {}
                Err(why) => {
                    tracing::error!("the door at {} stays shut: {why}", self.place);
                    told = Some(why);
                }
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn open(&self) -> Result<(Socket, Option<InUse>), String> {
        let over_tls = self.certificate.as_ref().filter(|_| matches!(self.place, Place::Tcp(_)));
        let tls = over_tls.map(|files| InUse::read(files.clone(), Instant::now())).transpose();
        let tls = tls.map_err(|error| error.to_string())?;
        let socket = Socket::bind(&self.place).await.map_err(|error| error.to_string())?;
        tracing::info!("the door at {} is open{}", self.place, if tls.is_some() { ", with TLS" } else { "" });
        Ok((socket, tls))
    }

    async fn serve(&self, socket: Socket, mut tls: Option<InUse>) {
        let mut connections = JoinSet::new();
        loop {
            // Who comes when there are enough waits in the kernel.
            let has_room = connections.len() < self.room.connections_max();
            tokio::select! {
                Some(_) = connections.join_next() => {}
                accepted = socket.accept(), if has_room => match accepted {
                    Ok((stream, peer)) => {
                        let caller = Caller { address: peer.map(|peer| peer.ip()), tls: tls.is_some(), after: Mutex::new(None) };
                        let tls = tls.as_mut().map(|tls| tls.acceptor(Instant::now()));
                        connections.spawn(connection(stream, tls, self.room.clone(), caller));
                    }
                    Err(error) => {
                        tracing::debug!("the door at {}: {error}", self.place);
                        tokio::time::sleep(BREATH).await;
                    }
                },
            }
        }
    }
}

async fn connection(stream: Box<dyn Stream>, tls: Option<TlsAcceptor>, room: Room, caller: Caller) {
    let stream: Box<dyn Stream> = match tls {
        None => stream,
        Some(tls) => match timeout(Duration::from_millis(HTTP_HEAD_MS), tls.accept(stream)).await {
            Ok(Ok(stream)) => Box::new(stream),
            // Scanners do so all day.
            Ok(Err(_)) | Err(_) => return,
        },
    };
    let caller = Arc::new(caller);
    let service = service_fn(|request| {
        let (room, caller) = (room.clone(), Arc::clone(&caller));
        async move { Ok::<_, Infallible>(room.answer(&caller, request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(HTTP_HEAD_MS))
        .max_headers(HTTP_HEADERS_MAX)
        .max_buf_size(HTTP_HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(Patient::new(stream, Duration::from_millis(HTTP_STALL_MS))), service)
        .with_upgrades();
    if let Err(error) = served.await {
        tracing::debug!("a connection to the door ended: {error}");
    }
    let after = caller.after.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(after) = after {
        after.await;
    }
}

/// Both ways of a connection, whatever is below it.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

enum Socket {
    Tcp(TcpListener),
    Unix { listener: UnixListener, _removed: Removed },
}

/// A file that goes when this does.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        // What can't be removed now is at the next start.
        let _ = fs::remove_file(&self.0);
    }
}

impl Socket {
    async fn bind(place: &Place) -> io::Result<Self> {
        match place {
            Place::Tcp(address) => TcpListener::bind(address).await.map(Self::Tcp),
            Place::Unix { path, mode } => {
                remove_left(path)?;
                let listener = UnixListener::bind(path)?;
                let _removed = Removed(path.clone());
                fs::set_permissions(path, fs::Permissions::from_mode(*mode))?;
                Ok(Self::Unix { listener, _removed })
            }
        }
    }

    async fn accept(&self) -> io::Result<(Box<dyn Stream>, Option<SocketAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                stream.set_nodelay(true)?;
                // Whoever vanished in the middle of a WebSocket is found out.
                rustix::net::sockopt::set_socket_keepalive(&stream, true)?;
                Ok((Box::new(stream), Some(peer)))
            }
            Self::Unix { listener, .. } => Ok((Box::new(listener.accept().await?.0), None)),
        }
    }
}

/// Removes what an agent left that was killed; nothing but a socket.
fn remove_left(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(left) if left.file_type().is_socket() => fs::remove_file(path),
        Ok(_) => Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is something else than a socket")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

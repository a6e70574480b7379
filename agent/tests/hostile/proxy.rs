//! A broker that lies: a line between the board and an honest broker, with somebody on it.
//!
//! It takes packets apart and asks a [`Mischief`] what becomes of each. Acknowledgements of what the
//! broker sends are the proxy's own, on both sides, so that a message can be lost, doubled or made
//! up without either end noticing by its packet identifiers.

use std::{
    io,
    net::{SocketAddr, TcpListener as StdListener},
    sync::{Arc, Mutex, MutexGuard},
    thread,
};

use bytes::{Bytes, BytesMut};
use dunlin::link::Broker;
use rumqttc::v5::mqttbytes::{
    Error, QoS,
    v5::{Packet, PubAck, Publish},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, watch},
};

use crate::mischief::{Honest, Mischief};

/// Packets that wait for an end that does not read.
const QUEUE: usize = 16;

/// The proxy, on a thread of its own for as long as the process lives.
pub struct Proxy {
    /// How to reach it.
    pub broker: Broker,
    shared: Arc<Shared>,
    connections: watch::Receiver<usize>,
}

struct Shared {
    mischief: Mutex<Box<dyn Mischief>>,
    /// What the last mischief held back.
    late: Mutex<Vec<Publish>>,
    /// The number of a mischief, and of the connections that are to be cut.
    changed: watch::Sender<(usize, usize)>,
    connections: watch::Sender<usize>,
}

/// What is to go over a line, in both directions.
#[derive(Default)]
pub struct Line {
    down: Vec<Bytes>,
    up: Vec<Bytes>,
    number: u16,
}

impl Line {
    /// To the board; a message gets the next packet identifier.
    pub fn down(&mut self, mut packet: Packet) {
        if let Packet::Publish(publish) = &mut packet
            && publish.qos != QoS::AtMostOnce
        {
            self.number = self.number.checked_add(1).unwrap_or(1);
            publish.pkid = self.number;
        }
        self.down.push(encode(&packet));
    }

    /// To the board, any bytes at all.
    pub fn down_raw(&mut self, bytes: Vec<u8>) {
        self.down.push(bytes.into());
    }

    /// To the honest broker.
    pub fn up(&mut self, packet: Packet) {
        self.up.push(encode(&packet));
    }
}

/// A packet as it goes over the line.
pub fn encode(packet: &Packet) -> Bytes {
    let mut bytes = BytesMut::new();
    packet.write(&mut bytes, None).unwrap();
    bytes.freeze()
}

impl Proxy {
    /// Starts one in front of this broker, honest at first.
    pub fn start(behind: &Broker) -> Self {
        let listener = StdListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let mut broker = behind.clone();
        broker.url.port = listener.local_addr().unwrap().port();
        let (sender, connections) = watch::channel(0);
        let shared = Arc::new(Shared {
            mischief: Mutex::new(Box::new(Honest)),
            late: Mutex::default(),
            changed: watch::Sender::new((0, 0)),
            connections: sender,
        });
        let address: SocketAddr = format!("{}:{}", behind.url.host, behind.url.port).parse().unwrap();
        let accept = Arc::clone(&shared).accept(listener, address);
        thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(accept);
        });
        Self { broker, shared, connections }
    }

    /// From now on this is done to every packet; what the one before held back goes first.
    pub fn begin(&self, mischief: impl Mischief) {
        let mut before = std::mem::replace(&mut *self.shared.mischief(), Box::new(mischief));
        self.shared.late.lock().unwrap().extend(before.held_back());
        self.shared.changed.send_modify(|(mischief, _)| *mischief += 1);
    }

    /// From now on the line is honest.
    pub fn end(&self) {
        self.begin(Honest);
    }

    /// Ends the connection that there is.
    pub fn cut(&self) {
        self.shared.changed.send_modify(|(_, cut)| *cut += 1);
    }

    /// Ends the connection that there is, and waits for the next.
    pub async fn again(&mut self) {
        let next = self.connections() + 1;
        self.cut();
        self.connected(next).await;
    }

    /// How often the board has connected.
    pub fn connections(&self) -> usize {
        *self.connections.borrow()
    }

    /// Waits until it has connected so often.
    pub async fn connected(&mut self, times: usize) {
        let enough = self.connections.wait_for(|count| *count >= times);
        tokio::time::timeout(crate::common::LIMIT, enough).await.expect("the board connects again").unwrap();
    }
}

impl Shared {
    fn mischief(&self) -> MutexGuard<'_, Box<dyn Mischief>> {
        self.mischief.lock().unwrap()
    }

    async fn accept(self: Arc<Self>, listener: StdListener, broker: SocketAddr) {
        let listener = TcpListener::from_std(listener).unwrap();
        loop {
            let (board, _) = listener.accept().await.unwrap();
            self.connections.send_modify(|count| *count += 1);
            let shared = Arc::clone(&self);
            tokio::spawn(async move {
                // The board, the broker or a mischief ended it: the board comes again.
                let _ = shared.carry(board, broker).await;
            });
        }
    }

    /// One connection, until somebody ends it.
    async fn carry(&self, board: TcpStream, broker: SocketAddr) -> io::Result<()> {
        let broker = TcpStream::connect(broker).await?;
        board.set_nodelay(true)?;
        broker.set_nodelay(true)?;
        let (from_board, to_board) = board.into_split();
        let (from_broker, to_broker) = broker.into_split();
        let (mut from_board, to_board) = (read(from_board), write(to_board));
        let (mut from_broker, to_broker) = (read(from_broker), write(to_broker));
        let mut changed = self.changed.subscribe();
        let (_, cut) = *changed.borrow_and_update();
        let mut line = Line::default();
        loop {
            let floods = self.mischief().floods();
            tokio::select! {
                packet = from_broker.recv() => {
                    let packet = packet.ok_or(io::ErrorKind::ConnectionAborted)?;
                    if let Packet::Publish(publish) = &packet && publish.qos != QoS::AtMostOnce {
                        line.up(Packet::PubAck(PubAck::new(publish.pkid, None)));
                    }
                    self.mischief().down(packet, &mut line);
                }
                packet = from_board.recv() => {
                    match packet.ok_or(io::ErrorKind::ConnectionAborted)? {
                        Packet::PubAck(_) => {}
                        packet => self.mischief().up(packet, &mut line),
                    }
                }
                room = to_board.reserve(), if floods => {
                    let room = room.map_err(|_| io::ErrorKind::ConnectionAborted)?;
                    self.mischief().flood(&mut line);
                    if let Some(first) = (!line.down.is_empty()).then(|| line.down.remove(0)) {
                        room.send(first);
                    }
                }
                _ = changed.changed() => {
                    if changed.borrow_and_update().1 != cut {
                        return Ok(());
                    }
                    self.late.lock().unwrap().drain(..).for_each(|late| line.down(Packet::Publish(late)));
                }
            }
            for (queue, frames) in [(&to_board, &mut line.down), (&to_broker, &mut line.up)] {
                for frame in frames.drain(..) {
                    queue.send(frame).await.map_err(|_| io::ErrorKind::ConnectionAborted)?;
                }
            }
        }
    }
}

/// Packets, as they come.
fn read(mut from: OwnedReadHalf) -> mpsc::Receiver<Packet> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        let mut buffer = BytesMut::new();
        loop {
            match Packet::read(&mut buffer, None) {
                Ok(packet) => {
                    if sender.send(packet).await.is_err() {
                        return;
                    }
                }
                Err(Error::InsufficientBytes(_)) => match from.read_buf(&mut buffer).await {
                    Ok(1..) => {}
                    Ok(0) | Err(_) => return,
                },
                // A goodbye without a reason, which rumqttc writes and does not read.
                Err(Error::PayloadRequired) => return,
                Err(error) => panic!("neither the board nor the broker sends this: {error:?}"),
            }
        }
    });
    receiver
}

/// Frames, as the other end takes them.
fn write(mut to: OwnedWriteHalf) -> mpsc::Sender<Bytes> {
    let (sender, mut receiver) = mpsc::channel::<Bytes>(QUEUE);
    tokio::spawn(async move {
        while let Some(frame) = receiver.recv().await {
            if to.write_all(&frame).await.is_err() {
                return;
            }
        }
    });
    sender
}

//! A line between a board and its broker, which counts what comes down and can be held.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::Duration,
};

const LIMIT: Duration = Duration::from_secs(60);

pub(crate) struct Wire {
    port: u16,
    meter: Arc<Meter>,
}

#[derive(Default)]
struct Meter {
    state: Mutex<Metered>,
    changed: Condvar,
}

#[derive(Default)]
struct Metered {
    down: u64,
    /// Nothing comes down any more once so much has.
    hold_at: Option<u64>,
}

impl Wire {
    pub(crate) fn to(broker: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let meter = Arc::new(Meter::default());
        let metered = Arc::clone(&meter);
        thread::spawn(move || {
            for near in listener.incoming() {
                // A broker that is away is one that hangs up.
                let Ok(far) = TcpStream::connect(("127.0.0.1", broker)) else { continue };
                connect(near.unwrap(), far, &metered).unwrap();
            }
        });
        Self { port, meter }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Bytes that came down.
    pub(crate) fn down(&self) -> u64 {
        self.meter.state.lock().unwrap().down
    }

    /// Lets so many bytes come down and no more.
    pub(crate) fn hold_at(&self, bytes: u64) {
        self.meter.state.lock().unwrap().hold_at = Some(bytes);
    }

    /// Waits until it is held.
    pub(crate) fn wait_for_hold(&self) {
        let state = self.meter.state.lock().unwrap();
        let before = |state: &mut Metered| state.hold_at.is_some_and(|at| state.down < at);
        let (_state, waited) = self.meter.changed.wait_timeout_while(state, LIMIT, before).unwrap();
        assert!(!waited.timed_out(), "less came down than it was to be held at");
    }

    pub(crate) fn release(&self) {
        self.meter.state.lock().unwrap().hold_at = None;
        self.meter.changed.notify_all();
    }
}

fn connect(mut near: TcpStream, mut far: TcpStream, meter: &Arc<Meter>) -> io::Result<()> {
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let (mut to_near, mut from_far) = (near.try_clone()?, far.try_clone()?);
    let meter = Arc::clone(meter);
    // Each direction ends with its connection; who hung up has been told by then.
    thread::spawn(move || {
        let _ = io::copy(&mut near, &mut far);
        let _ = far.shutdown(Shutdown::Both);
    });
    thread::spawn(move || {
        let _ = meter.copy(&mut from_far, &mut to_near);
        let _ = to_near.shutdown(Shutdown::Both);
    });
    Ok(())
}

impl Meter {
    fn copy(&self, from: &mut TcpStream, to: &mut TcpStream) -> io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        loop {
            let read = from.read(&mut buffer)?;
            if read == 0 {
                return Ok(());
            }
            let mut state = self.state.lock().unwrap();
            state.down += read as u64;
            self.changed.notify_all();
            let held = |state: &mut Metered| state.hold_at.is_some_and(|at| state.down >= at);
            drop(self.changed.wait_while(state, held).unwrap());
            to.write_all(&buffer[..read])?;
        }
    }
}

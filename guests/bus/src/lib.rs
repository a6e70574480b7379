//! Messages for guests: what an app publishes, and what it hears, over the agent's connection.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! fn main() -> std::io::Result<()> {
//!     dunlin_bus::publish("temperature", b"21.5")?;
//!     if let Some(message) = dunlin_bus::receive(Some(Duration::from_secs(10)))? {
//!         println!("{}: {} bytes", message.topic, message.payload.len());
//!     }
//!     Ok(())
//! }
//! ```
//!
//! An app names its topics in `app.toml`, `topics-out` and `topics-in`, one level each. What it publishes under
//! `temperature` is at the broker `dunlin/v1/FLEET/device/DEVICE/out/APP/temperature`; what it hears as
//! `set-point` was published under `…/in/APP/set-point`.

mod imports;

use std::io::{self, ErrorKind};
use std::time::Duration;

/// Bytes that one message may have, in either direction.
pub const PAYLOAD_BYTES_MAX: usize = 4 * 1024;

/// Bytes that a topic's name may have.
pub const TOPIC_BYTES_MAX: usize = 64;

/// A message for this app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The name that it came under.
    pub topic: String,
    /// What it says.
    pub payload: Vec<u8>,
}

/// Hands a message to the agent, which delivers it at least once, when there is a broker again if there is none now.
///
/// # Errors
///
/// - [`PermissionDenied`](ErrorKind::PermissionDenied): the app was not granted this topic.
/// - [`WouldBlock`](ErrorKind::WouldBlock): it published too much lately, or too much of it waits for the broker.
///   Ten a second are allowed, and twenty at once.
/// - Another one, `EMSGSIZE`, for more than [`PAYLOAD_BYTES_MAX`].
pub fn publish(topic: &str, payload: &[u8]) -> io::Result<()> {
    outcome(imports::publish(topic.as_bytes(), payload))
}

/// The next message, waited for so long, or for ever without a limit; nothing if none came.
///
/// Sixteen wait at most: of more the oldest is lost.
///
/// # Errors
///
/// [`PermissionDenied`](ErrorKind::PermissionDenied): the app was granted no topic at all.
pub fn receive(patience: Option<Duration>) -> io::Result<Option<Message>> {
    // All ones mean for ever.
    let longest = u32::MAX - 1;
    let wait_ms = patience.map_or(u32::MAX, |time| u32::try_from(time.as_millis()).unwrap_or(longest).min(longest));
    let (mut topic, mut payload) = (vec![0; TOPIC_BYTES_MAX], vec![0; PAYLOAD_BYTES_MAX]);
    let (mut topic_len, mut payload_len) = (0, 0);
    let errno = imports::receive((&mut topic, &mut topic_len), (&mut payload, &mut payload_len), wait_ms);
    match outcome(errno) {
        Ok(()) => {
            topic.truncate(topic_len as usize);
            payload.truncate(payload_len as usize);
            let topic = String::from_utf8(topic).map_err(io::Error::other)?;
            Ok(Some(Message { topic, payload }))
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

fn outcome(errno: i32) -> io::Result<()> {
    if errno == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(errno)) }
}

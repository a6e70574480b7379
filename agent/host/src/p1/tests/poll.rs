//! Waiting for clocks and descriptors, in any mix.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::harness::{ROOT, Wasi};
use super::sock::pair;
use crate::fds::Rights;
use crate::guest::{Guest, Stdin};
use crate::p1::{Errno, Stop};

const REALTIME: u32 = 0;
const MONOTONIC: u32 = 1;

#[derive(Clone, Copy)]
enum On {
    Clock { id: u32, timeout: u64, absolute: bool },
    Read(u32),
    Write(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Event {
    userdata: u64,
    errno: u16,
    kind: u8,
    bytes: u64,
    hangup: bool,
}

fn after(duration: Duration) -> On {
    On::Clock { id: MONOTONIC, timeout: duration.as_nanos() as u64, absolute: false }
}

/// The arguments of a call. The subscriptions' userdata are 100, 101 and so on.
fn subscribe(wasi: &mut Wasi, subscriptions: &[On]) -> [u64; 4] {
    let mut list = Vec::new();
    for (userdata, on) in (100_u64..).zip(subscriptions) {
        let mut bytes = [0; 48];
        bytes[0..8].copy_from_slice(&userdata.to_le_bytes());
        match on {
            On::Clock { id, timeout, absolute } => {
                bytes[16..20].copy_from_slice(&id.to_le_bytes());
                bytes[24..32].copy_from_slice(&timeout.to_le_bytes());
                bytes[40] = (*absolute).into();
            }
            On::Read(fd) | On::Write(fd) => {
                bytes[8] = if let On::Read(_) = on { 1 } else { 2 };
                bytes[16..20].copy_from_slice(&fd.to_le_bytes());
            }
        }
        list.extend_from_slice(&bytes);
    }
    let subscriptions_at = wasi.put(&list);
    let events = wasi.room(32 * subscriptions.len());
    let happened = wasi.room(4);
    [subscriptions_at.into(), events.into(), subscriptions.len() as u64, happened.into()]
}

fn events(wasi: &Wasi, args: [u64; 4]) -> Vec<Event> {
    let (first, happened) = (args[1] as u32, args[3] as u32);
    (0..wasi.u32(happened))
        .map(|index| {
            let at = first + 32 * index;
            Event {
                userdata: wasi.u64(at),
                errno: wasi.u16(at + 8),
                kind: wasi.bytes(at + 10, 1)[0],
                bytes: wasi.u64(at + 16),
                hangup: wasi.u16(at + 24) == 1,
            }
        })
        .collect()
}

async fn poll(wasi: &mut Wasi, subscriptions: &[On]) -> Result<Vec<Event>, Errno> {
    let args = subscribe(wasi, subscriptions);
    wasi.call_waiting("poll_oneoff", &args).await?;
    Ok(events(wasi, args))
}

fn now(wasi: &mut Wasi, clock: u32) -> u64 {
    let at = wasi.room(8);
    wasi.call("clock_time_get", &[clock.into(), 0, at.into()]).unwrap();
    wasi.u64(at)
}

fn clock_event(userdata: u64) -> Event {
    Event { userdata, errno: 0, kind: 0, bytes: 0, hangup: false }
}

#[tokio::test]
async fn a_relative_timeout_passes() {
    let mut wasi = Wasi::new();
    for id in [REALTIME, MONOTONIC] {
        let before = now(&mut wasi, MONOTONIC);
        let on = On::Clock { id, timeout: 20_000_000, absolute: false };
        assert_eq!(poll(&mut wasi, &[on]).await, Ok(vec![clock_event(100)]));
        assert!(now(&mut wasi, MONOTONIC) - before >= 20_000_000);
    }
}

/// Each costs the host memory and a system call.
#[tokio::test]
async fn there_is_a_limit_to_what_is_waited_for() {
    let mut wasi = Wasi::new();
    let many = vec![On::Write(1); 4 * crate::quota::Limits::default().descriptors];
    assert_eq!(poll(&mut wasi, &many).await.map(|events| events.len()), Ok(many.len()));
    let more = [&many[..], &[On::Write(1)]].concat();
    assert_eq!(poll(&mut wasi, &more).await, Err(Errno::Inval));
}

#[tokio::test]
async fn an_absolute_timeout_passes() {
    let mut wasi = Wasi::new();
    for id in [REALTIME, MONOTONIC] {
        let then = now(&mut wasi, id) + 20_000_000;
        let on = On::Clock { id, timeout: then, absolute: true };
        assert_eq!(poll(&mut wasi, &[on]).await, Ok(vec![clock_event(100)]));
        assert!(now(&mut wasi, id) >= then);
        // What is past has happened.
        let past = On::Clock { id, timeout: 1, absolute: true };
        let args = subscribe(&mut wasi, &[past]);
        assert_eq!(wasi.call("poll_oneoff", &args), Ok(()));
    }
}

#[tokio::test]
async fn the_first_clock_wins() {
    let mut wasi = Wasi::new();
    let hour = Duration::from_secs(3600);
    let on = [after(hour), after(Duration::from_millis(5)), after(Duration::MAX)];
    assert_eq!(poll(&mut wasi, &on).await, Ok(vec![clock_event(101)]));
    // Several at once are told together, in their order.
    let on = [after(Duration::ZERO), after(hour), after(Duration::ZERO)];
    assert_eq!(poll(&mut wasi, &on).await, Ok(vec![clock_event(100), clock_event(102)]));
}

#[test]
fn a_call_that_is_wrong_as_a_whole() {
    let mut wasi = Wasi::new();
    let args = subscribe(&mut wasi, &[]);
    assert_eq!(wasi.call("poll_oneoff", &args), Err(Errno::Inval));
    // A kind of event that there is not.
    let args = subscribe(&mut wasi, &[On::Read(0)]);
    wasi.memory[args[0] as usize + 8] = 3;
    assert_eq!(wasi.call("poll_oneoff", &args), Err(Errno::Inval));
    // A flag of a clock that there is not.
    let args = subscribe(&mut wasi, &[after(Duration::ZERO)]);
    wasi.memory[args[0] as usize + 40] = 2;
    assert_eq!(wasi.call("poll_oneoff", &args), Err(Errno::Inval));
    // More than any memory can hold.
    let args = [args[0], args[1], u64::from(u32::MAX), args[3]];
    assert_eq!(wasi.call("poll_oneoff", &args), Err(Errno::Fault));
}

/// "An error that occurred while processing the subscription request" is the event's own.
#[tokio::test]
async fn what_is_wrong_with_one_subscription_is_its_own() {
    let mut wasi = Wasi::new();
    let fd = wasi.file("f", b"");
    wasi.state.fds.get_mut(fd).unwrap().rights = Rights::FILE - Rights::POLL_FD_READWRITE;
    let bad_clock = On::Clock { id: 2, timeout: 0, absolute: false };
    let on = [On::Read(99), On::Read(fd), On::Write(0), bad_clock, after(Duration::ZERO)];
    let events = poll(&mut wasi, &on).await.unwrap();
    let told = events.iter().map(|event| (event.userdata, event.errno)).collect::<Vec<_>>();
    let (badf, notcapable, inval) = (Errno::Badf as u16, Errno::Notcapable as u16, Errno::Inval as u16);
    assert_eq!(told, [(100, badf), (101, notcapable), (102, notcapable), (103, inval), (104, 0)]);
}

/// "This event always triggers for regular files."
#[tokio::test]
async fn files_and_output_are_always_ready() {
    let mut wasi = Wasi::new();
    let fd = wasi.file("f", b"abcdef");
    wasi.seek(fd, 2, 0).unwrap();
    let hour = Duration::from_secs(3600);
    let events = poll(&mut wasi, &[On::Read(fd), On::Write(fd), after(hour), On::Write(1)]).await;
    let event = |userdata, kind, bytes| Event { userdata, errno: 0, kind, bytes, hangup: false };
    assert_eq!(events, Ok(vec![event(100, 1, 4), event(101, 2, 1), event(103, 2, 1)]));
    let stopped = poll(&mut wasi, &[On::Read(ROOT)]).await.unwrap();
    assert_eq!(stopped[0].errno, Errno::Notcapable as u16);
}

#[tokio::test]
async fn stdin_is_waited_for() {
    let (mut writer, reader) = tokio::io::duplex(64);
    let guest = Guest { stdin: Stdin::Reader(Box::new(reader)), ..Guest::default() };
    let mut wasi = Wasi::with(guest, false);
    let args = subscribe(&mut wasi, &[On::Read(0)]);
    assert!(matches!(wasi.attempt("poll_oneoff", &args), Err(Stop::Wait)));
    let (read, written) = tokio::join!(wasi.read_waiting(0, &[3, 64]), writer.write_all(b"abcdef"));
    written.unwrap();
    assert_eq!(read, Ok(b"abcdef".to_vec()));
    writer.write_all(b"gh").await.unwrap();
    let ready = poll(&mut wasi, &[On::Read(0)]).await.unwrap();
    assert_eq!((ready[0].bytes, ready[0].hangup), (2, false));
    assert_eq!(wasi.read(0, &[1]), Ok(b"g".to_vec()));
    assert_eq!(wasi.read(0, &[8]), Ok(b"h".to_vec()));
    drop(writer);
    let ended = poll(&mut wasi, &[On::Read(0)]).await.unwrap();
    assert_eq!((ended[0].bytes, ended[0].hangup), (0, true));
    assert_eq!(wasi.read(0, &[8]), Ok(vec![]));
}

#[tokio::test]
async fn a_connection_is_waited_for() {
    let (mut wasi, fd, mut peer) = pair().await;
    // Nothing to read, but room to write.
    let soon = after(Duration::from_millis(5));
    assert_eq!(poll(&mut wasi, &[On::Read(fd), soon]).await, Ok(vec![clock_event(101)]));
    let writable = poll(&mut wasi, &[On::Read(fd), On::Write(fd)]).await.unwrap();
    assert_eq!(writable.iter().map(|event| event.userdata).collect::<Vec<_>>(), [101]);

    let on = [On::Read(fd)];
    let (events, sent) = tokio::join!(poll(&mut wasi, &on), peer.write_all(b"abc"));
    sent.unwrap();
    let event = Event { userdata: 100, errno: 0, kind: 1, bytes: 3, hangup: false };
    assert_eq!(events, Ok(vec![event]));
    assert_eq!(wasi.read(fd, &[8]), Ok(b"abc".to_vec()));
    // Readiness that has passed is not told again, and not waited for in a hurry.
    let soon = after(Duration::from_millis(5));
    assert_eq!(poll(&mut wasi, &[On::Read(fd), soon]).await, Ok(vec![clock_event(101)]));
    assert!(wasi.attempts <= 3, "tried {} times", wasi.attempts);
    // The other end goes away.
    drop(peer);
    let gone = poll(&mut wasi, &[On::Read(fd)]).await.unwrap();
    assert_eq!((gone[0].bytes, gone[0].hangup), (0, true));
    assert_eq!(wasi.read(fd, &[8]), Ok(vec![]));
}

#[tokio::test]
async fn yielding_comes_back_after_the_others() {
    let mut wasi = Wasi::new();
    let turn = std::cell::Cell::new(0);
    let other = async { turn.set(turn.get() + 1) };
    let (yielded, ()) = tokio::join!(wasi.call_waiting("sched_yield", &[]), other);
    assert_eq!((yielded, turn.get()), (Ok(()), 1));
    assert!(matches!(wasi.attempt("sched_yield", &[]), Err(Stop::Wait)));
}

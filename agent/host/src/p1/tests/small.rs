//! Arguments, environment, clocks, randomness and the end.

use super::harness::Wasi;
use crate::guest::Guest;
use crate::p1::{Errno, Stop};

fn wasi() -> Wasi {
    let env = vec![("KEY".to_owned(), "value".to_owned()), ("EMPTY".to_owned(), String::new())];
    Wasi::with(Guest { args: vec!["app".to_owned(), "ü".to_owned()], env, ..Guest::default() }, false)
}

/// The strings that a pair of functions gives, as a C library reads them.
fn strings(wasi: &mut Wasi, sizes: &str, get: &str) -> Vec<String> {
    let (count, bytes) = (wasi.room(4), wasi.room(4));
    wasi.call(sizes, &[count.into(), bytes.into()]).unwrap();
    let (count, bytes) = (wasi.u32(count), wasi.u32(bytes));
    let (pointers, buf) = (wasi.room(4 * count as usize), wasi.room(bytes as usize));
    wasi.call(get, &[pointers.into(), buf.into()]).unwrap();
    let all = wasi.bytes(buf, bytes as usize).to_vec();
    assert_eq!(all.last(), Some(&0));
    (0..count)
        .map(|index| {
            let start = (wasi.u32(pointers + 4 * index) - buf) as usize;
            let end = start + all[start..].iter().position(|byte| *byte == 0).unwrap();
            String::from_utf8(all[start..end].to_vec()).unwrap()
        })
        .collect()
}

#[test]
fn arguments() {
    assert_eq!(strings(&mut wasi(), "args_sizes_get", "args_get"), ["app", "ü"]);
}

#[test]
fn environment() {
    let env = strings(&mut wasi(), "environ_sizes_get", "environ_get");
    assert_eq!(env, ["KEY=value", "EMPTY="]);
}

#[test]
fn no_arguments_at_all() {
    let mut wasi = Wasi::new();
    let (count, bytes) = (wasi.put(&[1; 4]), wasi.put(&[1; 4]));
    wasi.call("args_sizes_get", &[count.into(), bytes.into()]).unwrap();
    assert_eq!((wasi.u32(count), wasi.u32(bytes)), (0, 0));
    wasi.call("args_get", &[count.into(), bytes.into()]).unwrap();
}

#[test]
fn clocks_go_forward_and_have_a_resolution() {
    let mut wasi = Wasi::new();
    let at = wasi.room(8);
    for clock in [0, 1] {
        wasi.call("clock_res_get", &[clock, at.into()]).unwrap();
        let resolution = wasi.u64(at);
        assert!((1..=1_000_000_000).contains(&resolution), "{resolution}");

        wasi.call("clock_time_get", &[clock, 0, at.into()]).unwrap();
        let before = wasi.u64(at);
        wasi.call("clock_time_get", &[clock, 1_000_000, at.into()]).unwrap();
        assert!(wasi.u64(at) >= before);
    }
    wasi.call("clock_time_get", &[0, 0, at.into()]).unwrap();
    let host = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let guest = std::time::Duration::from_nanos(wasi.u64(at));
    assert!(host.abs_diff(guest) < std::time::Duration::from_secs(60));
}

/// "For unsupported clocks, return `errno::inval`."
#[test]
fn clocks_that_there_are_not() {
    let mut wasi = Wasi::new();
    let at = wasi.room(8);
    for clock in [2, 3, 4, u64::from(u32::MAX)] {
        assert_eq!(wasi.call("clock_res_get", &[clock, at.into()]), Err(Errno::Inval));
        assert_eq!(wasi.call("clock_time_get", &[clock, 0, at.into()]), Err(Errno::Inval));
    }
}

#[test]
fn random_bytes_fill_what_was_asked_for_and_no_more() {
    let mut wasi = Wasi::new();
    let at = wasi.put(&[0; 512]);
    wasi.call("random_get", &[at.into(), 256]).unwrap();
    let first = wasi.bytes(at, 256).to_vec();
    assert!(first.iter().any(|byte| *byte != 0));
    assert!(wasi.bytes(at + 256, 256).iter().all(|byte| *byte == 0));
    wasi.call("random_get", &[at.into(), 256]).unwrap();
    assert_ne!(wasi.bytes(at, 256), first);
    assert_eq!(wasi.call("random_get", &[at.into(), 0]), Ok(()));
}

/// So many that they would hold up the others: made in turns, and paid for in each.
#[tokio::test]
async fn many_random_bytes_are_made_in_turns() {
    const LEN: usize = 150_000;

    let mut wasi = Wasi::new();
    let at = wasi.put(&[0; LEN + 8]);
    wasi.state.work = 0;
    assert_eq!(wasi.call_waiting("random_get", &[at.into(), LEN as u64]).await, Ok(()));
    assert_eq!((wasi.attempts, wasi.state.work), (3, LEN as u64));
    let blocks = wasi.bytes(at, LEN).chunks_exact(16).collect::<Vec<_>>();
    assert!(blocks.iter().all(|block| block.iter().any(|byte| *byte != 0)), "a part was left out");
    assert_eq!(wasi.bytes(at + LEN as u32, 8), [0; 8]);
    // The next call begins at its own beginning.
    let next = wasi.put(&[0; 64]);
    assert_eq!(wasi.call("random_get", &[next.into(), 64]), Ok(()));
    assert!(wasi.bytes(next, 64).iter().any(|byte| *byte != 0));
}

#[test]
fn the_end() {
    let mut wasi = Wasi::new();
    assert!(matches!(wasi.attempt("proc_exit", &[9]), Err(Stop::Exit(9))));
    // There are no signals, and the document leaves that to the host.
    assert_eq!(wasi.call("proc_raise", &[6]), Err(Errno::Notsup));
}

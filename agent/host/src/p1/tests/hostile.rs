//! Arguments that no honest program gives: an error number each, and nothing else.

use proptest::prelude::*;

use super::harness::{ROOT, Wasi};
use crate::p1::table::FUNCTIONS;
use crate::p1::{Errno, Stop};
use crate::state::Wait;

/// Every function whose arguments include an address, with that address outside and all else right.
#[test]
fn an_address_outside_is_a_fault() {
    let mut wasi = Wasi::new();
    let fd = u64::from(wasi.file("f", b"abc"));
    std::os::unix::fs::symlink("f", wasi.root().join("s")).unwrap();
    let root = u64::from(ROOT);
    let path = u64::from(wasi.put(b"s"));
    let room = u64::from(wasi.room(64));
    let iovs = wasi.put(&[(room as u32).to_le_bytes(), 4_u32.to_le_bytes()].concat());
    let iovs = u64::from(iovs);
    let subscription = u64::from(wasi.put(&[0; 48]));
    let end = wasi.memory.len() as u64;
    // A list of buffers that is inside itself, with a buffer that is not.
    let mut astray = |at: u64, len: u32| u64::from(wasi.put(&[(at as u32).to_le_bytes(), len.to_le_bytes()].concat()));
    let (beyond, too_long) = (astray(end - 3, 4), astray(room, u32::MAX));

    for bad in [end, end - 1, end + 4096, u64::from(u32::MAX), u64::from(u32::MAX) - 7] {
        let cases: &[(&str, &[u64])] = &[
            ("clock_res_get", &[0, bad]),
            ("clock_time_get", &[0, 0, bad]),
            ("args_sizes_get", &[bad, room]),
            ("args_sizes_get", &[room, bad]),
            ("environ_sizes_get", &[bad, room]),
            ("fd_fdstat_get", &[fd, bad]),
            ("fd_filestat_get", &[fd, bad]),
            ("fd_pread", &[fd, bad, 1, 0, room]),
            ("fd_pread", &[fd, iovs, 1, 0, bad]),
            ("fd_prestat_get", &[root, bad]),
            ("fd_prestat_dir_name", &[root, bad, 5]),
            ("fd_pwrite", &[fd, bad, 1, 0, room]),
            ("fd_pwrite", &[fd, iovs, 1, 0, bad]),
            ("fd_read", &[fd, bad, 1, room]),
            ("fd_read", &[fd, iovs, 1, bad]),
            ("fd_readdir", &[root, bad, 64, 0, room]),
            ("fd_readdir", &[root, room, 64, 0, bad]),
            ("fd_seek", &[fd, 0, 0, bad]),
            ("fd_tell", &[fd, bad]),
            ("fd_write", &[fd, bad, 1, room]),
            ("fd_write", &[fd, iovs, 1, bad]),
            ("path_create_directory", &[root, bad, 4]),
            ("path_filestat_get", &[root, 0, bad, 4, room]),
            ("path_filestat_get", &[root, 0, path, 1, bad]),
            ("path_filestat_set_times", &[root, 0, bad, 4, 0, 0, 0]),
            ("path_link", &[root, 0, bad, 4, root, path, 1]),
            ("path_link", &[root, 0, path, 1, root, bad, 4]),
            ("path_open", &[root, 0, bad, 4, 0, 0, 0, 0, room]),
            ("path_open", &[root, 1, path, 1, 0, 0, 0, 0, bad]),
            ("path_readlink", &[root, bad, 4, room, 64, room]),
            ("path_readlink", &[root, path, 1, bad, 64, room]),
            ("path_readlink", &[root, path, 1, room, 64, bad]),
            ("path_remove_directory", &[root, bad, 4]),
            ("path_rename", &[root, bad, 4, root, path, 1]),
            ("path_rename", &[root, path, 1, root, bad, 4]),
            ("path_symlink", &[bad, 4, root, path, 1]),
            ("path_symlink", &[path, 1, root, bad, 4]),
            ("path_unlink_file", &[root, bad, 4]),
            ("poll_oneoff", &[bad, room, 1, room]),
            ("poll_oneoff", &[subscription, bad, 1, room]),
            ("poll_oneoff", &[subscription, room, 1, bad]),
            ("random_get", &[bad, 8]),
            ("sock_accept", &[fd, 0, bad]),
            ("sock_recv", &[fd, bad, 1, 0, room, room]),
            ("sock_recv", &[fd, iovs, 1, 0, bad, room]),
            ("sock_recv", &[fd, iovs, 1, 0, room, bad]),
            ("sock_send", &[fd, bad, 1, 0, room]),
            ("sock_send", &[fd, iovs, 1, 0, bad]),
        ];
        for (name, args) in cases {
            assert_eq!(wasi.call(name, args), Err(Errno::Fault), "{name} {args:?}");
        }
    }
    for list in [beyond, too_long] {
        for (name, args) in [
            ("fd_read", &[fd, list, 1, room][..]),
            ("fd_write", &[fd, list, 1, room]),
            ("fd_pread", &[fd, list, 1, 0, room]),
            ("fd_pwrite", &[fd, list, 1, 0, room]),
            ("sock_recv", &[fd, list, 1, 0, room, room]),
            ("sock_send", &[fd, list, 1, 0, room]),
        ] {
            assert_eq!(wasi.call(name, args), Err(Errno::Fault), "{name} {args:?}");
        }
    }
    // Counts that lead out, or around.
    for (count, errno) in [(1024, Errno::Fault), (1 << 29, Errno::Inval), (u64::from(u32::MAX), Errno::Inval)] {
        for name in ["fd_read", "fd_write"] {
            let args = [fd, iovs, count, room];
            let args = if count == 1024 { [fd, end - 8 * 1023, count, room] } else { args };
            assert_eq!(wasi.call(name, &args), Err(errno), "{name} {count}");
        }
    }
    // Nothing was read or written, and the position is where it was.
    assert_eq!(wasi.tell(fd as u32), Ok(0));
    assert_eq!(std::fs::read(wasi.root().join("f")).unwrap(), b"abc");
}

#[test]
fn strings_without_room() {
    use crate::guest::Guest;

    let args = vec!["app".to_owned(), "argument".to_owned()];
    let mut wasi = Wasi::with(Guest { args, ..Guest::default() }, false);
    let (room, end) = (u64::from(wasi.room(64)), wasi.memory.len() as u64);
    for (argv, buf) in [(end - 4, room), (room, end - 12), (end, room), (room, u64::from(u32::MAX))] {
        assert_eq!(wasi.call("args_get", &[argv, buf]), Err(Errno::Fault));
    }
    // They end exactly where the memory does.
    assert_eq!(wasi.call("args_get", &[end - 21, end - 13]), Ok(()));
}

/// Small numbers, ends of ranges and everything: what finds a missing check.
fn argument() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..16_u64,
        64..1024_u64,
        (256 * 1024 - 64)..(256 * 1024 + 64_u64),
        (u64::from(u32::MAX) - 64)..=u64::from(u32::MAX),
        (u64::MAX - 16)..=u64::MAX,
        any::<u64>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Any function with any arguments over any memory: no panic, and the process is still whole.
    #[test]
    fn anything_at_all(
        memory in proptest::collection::vec(any::<u8>(), 4096),
        calls in proptest::collection::vec((0..FUNCTIONS.len(), proptest::array::uniform9(argument())), 64),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _inside = runtime.enter();
        let mut wasi = Wasi::limited(1 << 20, |_| {});
        wasi.file("f", b"abc");
        wasi.memory[..memory.len()].copy_from_slice(&memory);
        for (index, args) in calls {
            let function = &FUNCTIONS[index];
            let mut args = args[..function.params.len()].to_vec();
            // As the call's type would have it.
            for (arg, ty) in args.iter_mut().zip(function.params) {
                if *ty == wasmi::ValType::I32 {
                    *arg = u64::from(*arg as u32);
                }
            }
            match wasi.attempt(function.name, &args) {
                Ok(()) | Err(Stop::Errno(_) | Stop::Exit(_)) => {}
                Err(Stop::Wait) => {
                    let may = ["fd_sync", "fd_datasync", "fd_write", "fd_pwrite"];
                    let may = [&may[..], &["poll_oneoff", "sched_yield", "random_get", "fd_readdir"]].concat();
                    prop_assert!(may.contains(&function.name), "{} waits", function.name);
                }
            }
            wasi.state.wait = Wait::default();
        }
    }
}

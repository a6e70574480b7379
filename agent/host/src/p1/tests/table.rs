//! The table itself.

use std::collections::BTreeSet;

use crate::p1::functions;
use crate::p1::table::{self, FUNCTIONS};

/// The functions of `wasi_snapshot_preview1.witx`.
const DOCUMENTED: &[&str] = &[
    "args_get",
    "args_sizes_get",
    "environ_get",
    "environ_sizes_get",
    "clock_res_get",
    "clock_time_get",
    "fd_advise",
    "fd_allocate",
    "fd_close",
    "fd_datasync",
    "fd_fdstat_get",
    "fd_fdstat_set_flags",
    "fd_fdstat_set_rights",
    "fd_filestat_get",
    "fd_filestat_set_size",
    "fd_filestat_set_times",
    "fd_pread",
    "fd_prestat_get",
    "fd_prestat_dir_name",
    "fd_pwrite",
    "fd_read",
    "fd_readdir",
    "fd_renumber",
    "fd_seek",
    "fd_sync",
    "fd_tell",
    "fd_write",
    "path_create_directory",
    "path_filestat_get",
    "path_filestat_set_times",
    "path_link",
    "path_open",
    "path_readlink",
    "path_remove_directory",
    "path_rename",
    "path_symlink",
    "path_unlink_file",
    "poll_oneoff",
    "proc_exit",
    "proc_raise",
    "sched_yield",
    "random_get",
    "sock_accept",
    "sock_recv",
    "sock_send",
    "sock_shutdown",
];

#[test]
fn every_documented_function_is_there_once() {
    let offered = FUNCTIONS.iter().map(|function| function.name).collect::<BTreeSet<_>>();
    assert_eq!(offered, DOCUMENTED.iter().copied().collect());
    assert_eq!((DOCUMENTED.len(), FUNCTIONS.len()), (46, 46));
}

/// A name may stand there again for a socket extension, and then its type tells which is meant.
#[test]
fn every_type_is_there_once() {
    let all = table::all().map(|(module, function)| (module, function.name, function.params)).collect::<Vec<_>>();
    for (index, function) in all.iter().enumerate() {
        assert!(!all[..index].contains(function), "{function:?} is there twice");
    }
    assert_eq!(functions().count(), all.len());
    let named = |name: &str| all.iter().filter(|(_, other, _)| *other == name).count();
    assert_eq!(
        ["sock_accept", "sock_open", "sock_recv_from", "sock_recv", "sock_getlocaladdr"].map(named),
        [2, 2, 3, 1, 2]
    );
}

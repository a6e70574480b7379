//! `wasi:cli` and `wasi:random`.

use wasip2::cli::{environment, stderr, stdin, stdout, terminal_stderr, terminal_stdin, terminal_stdout};
use wasip2::io::streams::StreamError;
use wasip2::random::{insecure, insecure_seed, random};

pub(crate) fn all() {
    assert_eq!(environment::get_arguments(), ["command", "cli", "ünï"]);
    assert_eq!(environment::get_environment(), [("A".into(), "b=c".into()), ("EMPTY".into(), String::new())]);
    assert_eq!(environment::initial_cwd(), None);
    assert!(terminal_stdin::get_terminal_stdin().is_none());
    assert!(terminal_stdout::get_terminal_stdout().is_none());
    assert!(terminal_stderr::get_terminal_stderr().is_none());

    let input = stdin::get_stdin();
    assert_eq!(input.blocking_read(2).unwrap(), b"he");
    // Another handle of the same stream goes on where that one stopped.
    assert_eq!(stdin::get_stdin().blocking_skip(2).unwrap(), 2);
    assert_eq!(input.read(100).unwrap(), b"o");
    assert!(matches!(input.blocking_read(1), Err(StreamError::Closed)));
    assert!(input.subscribe().ready());
    stdout::get_stdout().blocking_write_and_flush(b"out").unwrap();
    stderr::get_stderr().blocking_write_and_flush(b"err").unwrap();

    assert_eq!(random::get_random_bytes(0), b"");
    assert_eq!(random::get_random_bytes(1000).len(), 1000);
    assert_eq!(insecure::get_insecure_random_bytes(7).len(), 7);
    assert_ne!(random::get_random_u64(), random::get_random_u64());
    assert_ne!(insecure::get_insecure_random_u64(), insecure::get_insecure_random_u64());
    assert_ne!(insecure_seed::insecure_seed(), insecure_seed::insecure_seed());
}

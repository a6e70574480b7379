//! `wasi:io/streams`, on stdout.

use wasip2::cli::{stdin, stdout};
use wasip2::io::poll::poll;
use wasip2::io::streams::StreamError;

pub(crate) fn all() {
    let out = stdout::get_stdout();
    let permit = out.check_write().unwrap();
    assert!(permit >= 4096);
    out.write(b"a").unwrap();
    out.write(b"b").unwrap();
    out.flush().unwrap();
    out.blocking_flush().unwrap();
    out.check_write().unwrap();
    out.write_zeroes(1).unwrap();
    out.blocking_write_zeroes_and_flush(2).unwrap();
    out.blocking_write_and_flush(&[b'c'; 4096]).unwrap();
    let ready = out.subscribe();
    ready.block();
    assert_eq!(poll(&[&ready, &ready]), [0, 1]);

    // What is read from nothing.
    let input = stdin::get_stdin();
    assert!(matches!(input.blocking_read(1), Err(StreamError::Closed)));
    assert!(matches!(input.read(1), Err(StreamError::Closed)));
    assert!(matches!(input.skip(1), Err(StreamError::Closed)));
    assert!(matches!(out.splice(&input, 1), Err(StreamError::Closed)));
    assert!(matches!(out.blocking_splice(&input, 1), Err(StreamError::Closed)));
}

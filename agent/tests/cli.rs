//! `dunlin` as its users type it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says where")]

#[path = "common/ports.rs"]
mod ports;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Output, Stdio},
};

use dunlin_guests::component::{HTTP_HELLO, PLAIN_SERVER};
use dunlin_guests::{Artifact, ENV, EXIT, FILES, HELLO, OVERFLOW, PANIC, TRAP};
use ports::free_port;

fn dunlin(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dunlin")).args(args).stdin(Stdio::null()).output().unwrap()
}

fn run(guest: &Artifact, args: &[&str]) -> Output {
    dunlin(&[&["run", guest.path], args].concat())
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn run_publishes_a_port() {
    answers(&HELLO, "hello: listening\n", "\r\n\r\nHello, WASM!");
    answers_requests();
    answers(&PLAIN_SERVER, "listening on http://127.0.0.1:7878\n", "\r\n\r\nHello, world!\n");
}

/// A server says this when it is ready, and answers with what ends so.
fn answers(server: &Artifact, ready: &str, end: &str) {
    let port = free_port();
    let publish = format!("127.0.0.1:{port}:7878");
    let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
    let mut child = Killed(command.args(["run", server.path, "-p", &publish]).stdout(Stdio::piped()).spawn().unwrap());
    let mut first = String::new();
    BufReader::new(child.0.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert_eq!(first, ready);
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with(end), "{answer}");
}

/// A component that answers requests says nothing: it is asked until somebody answers.
fn answers_requests() {
    let port = free_port();
    let publish = format!("127.0.0.1:{port}:80");
    let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
    let args = ["run", HTTP_HELLO.path, "-p", &publish, "--instances", "2", "--keep-instances"];
    let mut child = Killed(command.args(args).spawn().unwrap());
    let mut stream = loop {
        assert_eq!(child.0.try_wait().unwrap(), None, "it ended");
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => break stream,
            Err(_) => std::thread::yield_now(),
        }
    };
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("\r\n\r\nHello, WASM!"), "{answer}");
}

#[test]
fn hello_ends_where_nothing_is_published() {
    let output = run(&HELLO, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("there is no listener: publish its port"), "{output:?}");
}

#[test]
fn what_answers_requests_is_told_what_it_cannot_have() {
    for (args, why) in [
        (&[][..], "publish a port of its, as with -p 8080:80"),
        (&["-p", "127.0.0.1:0:80", "-p", "127.0.0.1:0:53/udp"], "publish no port with /udp"),
        (&["-p", "127.0.0.1:0:80", "--dir", "/tmp::/data"], "leave out --dir"),
    ] {
        let output = run(&HTTP_HELLO, args);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains(why), "{output:?}");
    }
}

#[test]
fn run_passes_arguments_and_environment_on() {
    let output = run(&ENV, &["a", "--env", "K=V", "-e", "EMPTY=", "--", "--flag"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    for line in ["a", "--flag", "K=V", "EMPTY="] {
        assert!(text(&output.stdout).lines().any(|l| l == line), "{line}: {}", text(&output.stdout));
    }
}

#[test]
fn the_exit_code_is_the_guests_own() {
    for code in ["0", "1", "7", "100"] {
        let output = run(&EXIT, &["--", code]);
        assert_eq!(output.status.code(), code.parse().ok(), "{output:?}");
    }
}

#[test]
fn a_directory_may_have_a_limit() {
    let data = tempfile::tempdir().unwrap();
    let dir = format!("{}::/data", data.path().display());
    let output = run(&FILES, &["--dir", &dir, "--disk", "1MiB", "/data"]);
    assert_eq!((text(&output.stdout), output.status.code()), ("files: ok\n", Some(0)), "{output:?}");
    // Room for a name, and not for what it writes.
    let output = run(&FILES, &["--dir", &dir, "--disk", "4KiB", "/data"]);
    assert_ne!(output.status.code(), Some(0));
    assert!(text(&output.stderr).contains("Quota exceeded"), "{output:?}");
    assert_eq!(run(&FILES, &["--disk", "4KiB"]).status.code(), Some(2), "a limit of what?");
}

#[test]
fn a_fault_says_where_and_why_and_exits_134() {
    for (guest, words) in
        [(TRAP, "`unreachable`"), (OVERFLOW, "overflowed its stack"), (PANIC, "guests/panic/src/main.rs:6:5")]
    {
        let output = run(&guest, &[]);
        assert_eq!(output.status.code(), Some(134), "{}", guest.name);
        let said = text(&output.stderr);
        assert!(said.contains(guest.path) && said.contains(words), "{}: {said}", guest.name);
    }
}

#[test]
fn what_cannot_run_says_why_and_exits_1() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("app.wasm");
    let path = file.to_str().unwrap();
    for (bytes, words) in [
        (&b"#!/bin/sh"[..], "not WebAssembly"),
        (b"\0asm\x0d\0\x01\0", "exports neither wasi:cli/run"),
        (b"\0asm\x01\0\0\0\xff", "app.wasm"),
    ] {
        std::fs::write(&file, bytes).unwrap();
        let output = dunlin(&["run", path]);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains(words), "{}", text(&output.stderr));
    }
    let output = dunlin(&["run", "/nowhere.wasm"]);
    assert!(output.status.code() == Some(1) && text(&output.stderr).contains("/nowhere.wasm"));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap();
    let output = run(&HELLO, &["-p", &format!("{taken}:7878")]);
    assert!(output.status.code() == Some(1) && text(&output.stderr).contains(&format!("cannot publish {taken}")));
    drop(listener);
}

#[test]
fn wrong_use_exits_2() {
    for args in [&["run"][..], &["run", "a.wasm", "-p", "80"], &["run", "a.wasm", "--env", "K"], &["fly"], &[]] {
        assert_eq!(dunlin(args).status.code(), Some(2), "{args:?}");
    }
    assert_eq!(dunlin(&["--version"]).status.code(), Some(0));
}

#[test]
fn check_names_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("agent.toml");
    let path = file.to_str().unwrap();
    std::fs::write(&file, "device = \"pi\"\nroot = \"root.dunlin\"\nstate = \"s\"\n[broker]\nurl = \"mqtt://b\"\n")
        .unwrap();
    for command in ["check", "agent"] {
        let output = dunlin(&[command, "--config", path]);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains("root.dunlin: "), "{}", text(&output.stderr));
    }
    std::fs::write(&file, "device = \"pi\"\nrot = \"root.dunlin\"\n").unwrap();
    let output = dunlin(&["check", "--config", path]);
    let said = text(&output.stderr);
    assert!(said.contains(&format!("{path}:2:1: unknown field `rot`")), "{said}");
}

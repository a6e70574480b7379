//! `dev`, end to end: build, sign, deploy over MQTT, answer, build again, and leave nothing behind.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]
#![cfg(feature = "dev")]

mod common;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use common::{Running, eventually, free_port};

/// How long Ctrl-C may take.
const WITHIN: Duration = Duration::from_secs(1);

/// A running `dev`, and what it has said so far.
struct Dev {
    running: Running,
    said: Arc<Mutex<String>>,
    temporary: tempfile::TempDir,
}

impl Dev {
    fn start(what: &Path, args: &[&str]) -> Self {
        Self::start_with(what, args, &[])
    }

    fn start_with(what: &Path, args: &[&str], env: &[(&str, &Path)]) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_dunlinctl"));
        command.arg("dev").arg(what).args(args).env("TMPDIR", temporary.path());
        // Packages of the same name would overwrite each other's module in one target folder.
        command.env("CARGO_TARGET_DIR", temporary.path().with_extension("target"));
        command.envs(env.iter().copied());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let pipes: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for pipe in pipes {
            let said = Arc::clone(&said);
            std::thread::spawn(move || {
                for line in BufReader::new(pipe).lines() {
                    let mut said = said.lock().unwrap();
                    said.push_str(&line.unwrap());
                    said.push('\n');
                }
            });
        }
        Self { running: Running(child), said, temporary }
    }

    fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Waits until it has said this.
    fn says(&mut self, what: &str) {
        let (said, running) = (Arc::clone(&self.said), &mut self.running);
        eventually(what, || {
            let said = said.lock().unwrap().clone();
            let ended = running.0.try_wait().unwrap();
            assert!(ended.is_none() || said.contains(what), "it ended ({ended:?}) and said: {said}");
            said.contains(what).then_some(())
        });
    }

    /// Interrupts it: it ends in time, well, and leaves nothing.
    fn ends(&mut self) {
        let (code, took) = self.running.interrupt();
        assert_eq!(code, 0, "{}", self.said());
        assert!(took < WITHIN, "{took:?}");
        let left: Vec<_> = fs::read_dir(self.temporary.path()).unwrap().map(|e| e.unwrap().path()).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("it said: {}", self.said());
        }
        // It may have built nothing.
        let _ = fs::remove_dir_all(self.temporary.path().with_extension("target"));
    }
}

/// What the app answers, if it answers.
fn get(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    Some(body.to_owned())
}

fn hello() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guests/hello")
}

/// A copy of the hello guest that is a package for itself.
fn copy_of_hello() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("src")).unwrap();
    fs::copy(hello().join("src/main.rs"), dir.path().join("src/main.rs")).unwrap();
    let manifest = "[package]\nname = \"hello\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[workspace]\n";
    fs::write(dir.path().join("Cargo.toml"), manifest).unwrap();
    dir
}

fn edit(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(file, text.replace(from, to)).unwrap();
}

#[test]
fn the_guest_of_this_repository_says_hello() {
    let [port, page] = [(); 2].map(|()| free_port());
    let mut dev = Dev::start(&hello(), &["-p", &format!("{port}:7878"), "--page-port", &page.to_string()]);
    dev.says(&format!("the board's page: http://127.0.0.1:{page}/"));
    dev.says(&format!("is running: http://127.0.0.1:{port}/"));
    assert!(get(page).unwrap().contains("<title>Dunlin</title>"));
    assert_eq!(get(port).as_deref(), Some("Hello, WASM!"));
    dev.says("hello │ hello: listening");
    dev.ends();
    assert_eq!(get(port), None, "nothing listens any more");
}

#[test]
fn a_package_that_asks_for_it_is_built_as_a_component() {
    let (port, package) = (free_port(), hello().with_file_name("plain-server"));
    let mut dev = Dev::start(&package, &["-p", &format!("{port}:7878")]);
    dev.says(&format!("http://127.0.0.1:{port}/"));
    assert_eq!(get(port).as_deref(), Some("Hello, world!\n"));
    dev.says("plain-server │ listening on http://127.0.0.1:7878");
    dev.ends();
}

#[test]
fn a_package_that_answers_requests_is_served() {
    let (port, package) = (free_port(), hello().with_file_name("http-hello"));
    let mut dev = Dev::start(&package, &["-p", &format!("{port}:80")]);
    dev.says(&format!("http://127.0.0.1:{port}/"));
    assert_eq!(get(port).as_deref(), Some("Hello, WASM!"));
    dev.ends();
}

#[test]
fn a_change_is_built_and_deployed_and_a_mistake_stops_nothing() {
    let (package, port) = (copy_of_hello(), free_port());
    let source = package.path().join("src/main.rs");
    let mut dev = Dev::start(package.path(), &["-p", &format!("{port}:7878")]);
    dev.says(&format!("http://127.0.0.1:{port}/"));
    edit(&source, "fn main() {", "fn main() { let x: u8 = \"y\";");
    dev.says("mismatched types");
    dev.says("what ran goes on");
    assert_eq!(get(port).as_deref(), Some("Hello, WASM!"), "the mistake is not what runs");
    edit(&source, " let x: u8 = \"y\";", "");
    edit(&source, "Hello, WASM!", "Howdy, WASM!");
    eventually("the new answer", || get(port).filter(|body| body == "Howdy, WASM!"));
    dev.says("hello 0.1.0+dev.2 is running");
    dev.ends();
}

#[test]
fn app_toml_counts_where_there_is_one() {
    let (package, port) = (copy_of_hello(), free_port());
    let toml = format!("name = \"greeter\"\nversion = \"3.1.0\"\nmodule = \"x\"\npublish = [\"{port}:7878\"]\n");
    fs::write(package.path().join("app.toml"), toml).unwrap();
    let mut dev = Dev::start(package.path(), &[]);
    dev.says(&format!("greeter 3.1.0+dev.1 is running: http://127.0.0.1:{port}/"));
    edit(&package.path().join("app.toml"), "name", "nmae");
    dev.says("app.toml:1:1: unknown field `nmae`");
    assert_eq!(get(port).as_deref(), Some("Hello, WASM!"));
    dev.ends();
}

#[test]
fn a_module_is_watched_like_sources() {
    let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
    let module = dir.path().join("app.wasm");
    fs::write(&module, "not wasm").unwrap();
    let mut dev = Dev::start(&module, &["-p", &format!("{port}:7878")]);
    dev.says("app.wasm: not WebAssembly");
    dev.says("waiting for a change");
    fs::write(&module, dunlin_guests::HELLO.bytes).unwrap();
    dev.says(&format!("http://127.0.0.1:{port}/"));
    assert_eq!(get(port).as_deref(), Some("Hello, WASM!"));
    dev.ends();
}

#[test]
fn ctrl_c_ends_a_build_in_the_middle() {
    let package = copy_of_hello();
    // A build script that never ends, and whose own child would outlive a careless end.
    let script = "fn main() { std::process::Command::new(\"sleep\").arg(\"600\").status().unwrap(); }";
    fs::write(package.path().join("build.rs"), script).unwrap();
    edit(
        &package.path().join("Cargo.toml"),
        "[workspace]",
        "[profile.release.build-override]\nopt-level = 0\n[workspace]",
    );
    let mut dev = Dev::start(package.path(), &["-p", &format!("{}:7878", free_port())]);
    let parent = rustix::process::Pid::from_child(&dev.running.0).as_raw_nonzero().get();
    let group = eventually("cargo runs its build script's child", || sleeper_below(parent));
    dev.ends();
    eventually("the build script's child has ended", || {
        let stat = fs::read_to_string(format!("/proc/{group}/stat")).unwrap_or_default();
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    });
}

/// A process `sleep` that descends from this one.
fn sleeper_below(ancestor: i32) -> Option<i32> {
    let parent_and_name = |pid: i32| -> Option<(i32, String)> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (left, right) = stat.rsplit_once(") ")?;
        let name = left.split_once('(')?.1.to_owned();
        Some((right.split(' ').nth(1)?.parse().ok()?, name))
    };
    let pids = fs::read_dir("/proc").unwrap().filter_map(|e| e.ok()?.file_name().to_str()?.parse::<i32>().ok());
    pids.into_iter().find(|pid| {
        let Some((mut parent, name)) = parent_and_name(*pid) else { return false };
        while name == "sleep" && parent > 1 && parent != ancestor {
            parent = parent_and_name(parent).map_or(0, |(parent, _)| parent);
        }
        name == "sleep" && parent == ancestor
    })
}

#[test]
fn a_missing_target_says_how_to_get_it() {
    use std::os::unix::fs::PermissionsExt;
    let package = copy_of_hello();
    let rustc = package.path().join("rustc");
    fs::write(&rustc, "#!/bin/sh\necho /nowhere/lib\n").unwrap();
    fs::set_permissions(&rustc, fs::Permissions::from_mode(0o755)).unwrap();
    let mut dev = Dev::start_with(package.path(), &[], &[("RUSTC", &rustc)]);
    dev.says("the target wasm32-wasip1 is not installed: rustup target add wasm32-wasip1");
    dev.says("waiting for a change");
    dev.ends();
}

#[test]
fn a_port_that_is_taken_is_said_and_not_the_end() {
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let dir = tempfile::tempdir().unwrap();
    let module = dir.path().join("app.wasm");
    fs::write(&module, dunlin_guests::HELLO.bytes).unwrap();
    let mut dev = Dev::start(&module, &["-p", &format!("{port}:7878")]);
    dev.says(&port.to_string());
    dev.says("backing-off");
    drop(taken);
    dev.says(&format!("http://127.0.0.1:{port}/"));
    assert_eq!(get(port).as_deref(), Some("Hello, WASM!"));
    dev.ends();
}

#[test]
fn what_cannot_be_developed_says_so_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let run = |what: &Path| {
        let output = Command::new(env!("CARGO_BIN_EXE_dunlinctl")).arg("dev").arg(what).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, error) = run(dir.path());
    assert!(code == Some(1) && error.contains("neither Cargo.toml nor app.toml"), "{error}");
    let (code, error) = run(&dir.path().join("a.wasm"));
    assert!(code == Some(1) && error.contains("cannot find"), "{error}");
}

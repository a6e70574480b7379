//! Programs in every language that `guests/README.md` lists: built by the command that it gives, and
//! run as guests with real files and real connections.
//!
//! Toolchains are looked for on the PATH and in `target/tools`, where `guests/README.md` puts them, or
//! in another folder that `DUNLIN_TOOLS` names, as a path from the root of the repository. Where one is
//! missing its tests are ignored, and say so; with `CI=true` they fail instead.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says where")]

mod go_std;
mod guest;
mod toolchain;

use std::time::Duration;

use dunlin_host::{Ended, Program};
use libtest_mimic::{Arguments, Trial};
use toolchain::{LANGUAGES, Language};
use wasi_preview1_component_adapter_provider as adapter;

/// What `hello` answers, in every language.
const HELLO: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 12\r\nConnection: close\r\n\r\nHello, WASM!";

/// What `notes` says, in every language.
const NOTES: &str = "\
wrote 12 bytes
appended 9 bytes
listed a.txt b.txt
read Hello, WASM! Goodbye.
a.txt has 21 bytes, changed just now
listed
slept
";

/// No guest here takes as long, on however slow a machine.
const LIMIT: Duration = Duration::from_secs(300);

fn main() {
    let mut trials = vec![Trial::test("the_readme_gives_the_commands", || {
        the_readme_gives_the_commands();
        Ok(())
    })];
    for language in LANGUAGES {
        let missing = language.missing();
        let mut trial = |name: String, test: Box<dyn FnOnce() + Send>| {
            let name = match missing {
                Some(what) => format!("{name} (skipped: {what} is not installed)"),
                None => name,
            };
            let run = move || {
                test();
                Ok(())
            };
            // In CI it runs all the same, and fails because nothing builds.
            let ignored = missing.is_some() && std::env::var_os("CI").is_none();
            trials.push(Trial::test(name, run).with_ignored_flag(ignored));
        };
        for program in language.programs {
            let name = format!("{}_{program}", language.name);
            match *program {
                "hello" => trial(name, Box::new(|| serves(language))),
                _ => {
                    trial(name.clone(), Box::new(|| keeps_notes(&guest::compile(&language.build("notes")))));
                    // The adapter takes memory of its own, and AssemblyScript's allocator all that there is.
                    if cfg!(feature = "components") && language.name != "assemblyscript" {
                        let wrapped = || keeps_notes(&guest::compile(&wrap(&language.build("notes"))));
                        trial(format!("{name}_as_a_component"), Box::new(wrapped));
                    }
                }
            }
        }
        if language.name == "go" {
            for package in go_std::PACKAGES {
                trial(format!("go_std_{}", package.replace('/', "_")), Box::new(|| go_std::passes(package)));
            }
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

/// A newcomer types what is tested.
fn the_readme_gives_the_commands() {
    let readme = std::fs::read_to_string(toolchain::root().join("guests/README.md")).unwrap();
    for language in LANGUAGES {
        for program in language.programs {
            let line = format!("| `{}` | `{}` |", language.folder(program), language.command(program));
            assert!(readme.contains(&line), "guests/README.md lacks the line\n{line}");
        }
    }
}

fn serves(language: &Language) {
    let module = guest::compile(&language.build("hello"));
    for &nonblocking in language.nonblocking {
        guest::block_on(async {
            let (mut guest, said) = guest::recorded("hello");
            let (listener, address) = guest::listen(nonblocking).await;
            guest.listeners.push(listener);
            // Who connects before it accepts is kept waiting by the kernel.
            let clients = async {
                for _ in 0..3 {
                    assert_eq!(guest::get(address).await, HELLO);
                }
                let (one, other) = tokio::join!(guest::get(address), guest::get(address));
                assert_eq!([one, other], [HELLO, HELLO]);
            };
            tokio::select! {
                ended = dunlin_host::run(&module, guest) => panic!("it ended: {ended:?}, and said {said:?}"),
                () = clients => {}
            }
            assert_eq!(said.stdout(), "hello: listening\n");
            assert_eq!(said.stderr(), "");
        });
    }
}

/// A component of a module for preview 1, as toolchains without a target for components make one.
fn wrap(module: &[u8]) -> Vec<u8> {
    let (name, bytes) = (adapter::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, adapter::WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER);
    let mut encoder = wit_component::ComponentEncoder::default();
    encoder.module(module).unwrap().adapter(name, bytes).unwrap().encode().unwrap()
}

fn keeps_notes(program: &Program) {
    let data = tempfile::tempdir().unwrap();
    guest::block_on(async {
        let (mut guest, said) = guest::recorded("notes");
        guest.directories.push(guest::directory(data.path(), "/data"));
        let ended = dunlin_host::run(program, guest).await;
        assert_eq!(said.stdout(), NOTES, "{ended:?}, {said:?}");
        assert!(matches!(ended, Ended::Exited(0)), "{ended:?}, {said:?}");
        assert_eq!(said.stderr(), "");
    });
    assert_eq!(std::fs::read_dir(data.path()).unwrap().count(), 0);

    // What goes wrong is said, and is not success.
    guest::block_on(async {
        let (mut guest, said) = guest::recorded("notes");
        guest.directories.push(dunlin_host::Directory { read_only: true, ..guest::directory(data.path(), "/data") });
        let ended = dunlin_host::run(program, guest).await;
        assert!(matches!(ended, Ended::Exited(1)), "{ended:?}, {said:?}");
        assert_ne!(said.stderr(), "");
    });
}

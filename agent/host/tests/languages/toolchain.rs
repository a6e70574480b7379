//! The languages: which toolchain each needs, and the one command that builds a program.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A language, or a way of writing programs in one.
pub(crate) struct Language {
    pub(crate) name: &'static str,
    /// From the root of the repository; `PROGRAM` stands for the program's name, here and below.
    folder: &'static str,
    /// What a shell in that folder is told.
    command: &'static str,
    /// The toolchain's name, and what such a shell can do where it is installed.
    toolchain: (&'static str, &'static str),
    pub(crate) programs: &'static [&'static str],
    /// Whether its server takes listeners that are non-blocking from the start, and others.
    pub(crate) nonblocking: &'static [bool],
}

const CARGO: &str = "cargo build --release --target wasm32-wasip1";
const RUST: (&str, &str) = ("Rust", "cargo --version");

/// Where the commands and probes below look for what was installed for this repository alone.
const TOOLS: &str = "../../target/tools";

pub(crate) const LANGUAGES: &[Language] = &[
    Language {
        name: "rust",
        folder: "guests/PROGRAM",
        command: CARGO,
        toolchain: RUST,
        programs: &["hello", "notes"],
        nonblocking: &[false],
    },
    Language {
        name: "tokio",
        folder: "guests/tokio-PROGRAM",
        command: CARGO,
        toolchain: RUST,
        programs: &["hello"],
        nonblocking: &[false, true],
    },
    Language {
        name: "c",
        folder: "guests/c",
        command: "clang-14 --target=wasm32-wasi --sysroot=/usr -Os -s -o PROGRAM.wasm PROGRAM.c",
        toolchain: (
            "clang with wasi-libc",
            "echo 'int main(void) { return 0; }' \
             | clang-14 --target=wasm32-wasi --sysroot=/usr -x c -o /dev/null -",
        ),
        programs: &["hello", "notes"],
        nonblocking: &[false],
    },
    Language {
        name: "cpp",
        folder: "guests/cpp",
        command: "clang++-14 --target=wasm32-wasi --sysroot=/usr -stdlib=libc++ -std=c++20 -fno-exceptions -Os -s \
                  -o PROGRAM.wasm PROGRAM.cpp",
        toolchain: (
            "clang with libc++ for wasm32",
            "printf '#include <string>\\nint main() { return std::string().size(); }' \
             | clang++-14 --target=wasm32-wasi --sysroot=/usr -stdlib=libc++ -fno-exceptions -x c++ -o /dev/null -",
        ),
        programs: &["hello", "notes"],
        nonblocking: &[false],
    },
    Language {
        name: "go",
        folder: "guests/go",
        command: "GOOS=wasip1 GOARCH=wasm go build -ldflags='-s -w' -o PROGRAM.wasm ./PROGRAM",
        toolchain: ("Go", "go version"),
        programs: &["hello", "notes"],
        nonblocking: &[true],
    },
    Language {
        name: "assemblyscript",
        folder: "guests/assemblyscript",
        command: "asc PROGRAM.ts -O -o PROGRAM.wasm \
                  --config ../../target/tools/npm/node_modules/@assemblyscript/wasi-shim/asconfig.json",
        toolchain: (
            "AssemblyScript with its WASI shim",
            "asc --version && test -e ../../target/tools/npm/node_modules/@assemblyscript/wasi-shim",
        ),
        programs: &["hello", "notes"],
        nonblocking: &[false],
    },
];

impl Language {
    pub(crate) fn folder(&self, program: &str) -> String {
        self.folder.replace("PROGRAM", program)
    }

    pub(crate) fn command(&self, program: &str) -> String {
        self.command.replace("PROGRAM", program)
    }

    /// What is not installed, if anything.
    pub(crate) fn missing(&self) -> Option<&'static str> {
        let (name, probe) = self.toolchain;
        (!shell(probe, &self.folder("hello")).status.success()).then_some(name)
    }

    /// Builds a program as `guests/README.md` says, except that the module goes elsewhere.
    pub(crate) fn build(&self, program: &str) -> Vec<u8> {
        let out = tempfile::tempdir().unwrap();
        let (folder, file) = (self.folder(program), format!("{program}.wasm"));
        let module = if self.command == CARGO {
            let package = Path::new(&folder).file_name().unwrap();
            cargo_target().join("wasm32-wasip1/release").join(package).with_extension("wasm")
        } else {
            out.path().join(&file)
        };
        let command = self.command(program).replace(&format!("-o {file}"), &format!("-o '{}'", module.display()));
        let built = shell(&command, &folder);
        let words = [built.stdout, built.stderr].concat();
        assert!(built.status.success(), "in {folder}: {command}\n{}", String::from_utf8_lossy(&words));
        fs::read(&module).unwrap()
    }
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Kept from run to run, as cargo's own.
fn cargo_target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("languages")
}

/// What a shell does with a command in a folder of the repository, where the tools are at hand.
pub(crate) fn shell(command: &str, folder: &str) -> Output {
    let tools = env::var("DUNLIN_TOOLS").unwrap_or_else(|_| "target/tools".to_owned());
    let installed = ["npm/node_modules/.bin", "python/go/bin"].map(|bin| root().join(&tools).join(bin));
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths(installed.into_iter().chain(env::split_paths(&path))).unwrap();
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(command.replace(TOOLS, &format!("../../{tools}")));
    shell.current_dir(root().join(folder)).env("PATH", path).env("CARGO_TARGET_DIR", cargo_target());
    // What whoever runs the tests wants of their own build, and not of a guest's.
    for name in ["CARGO_BUILD_TARGET", "CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS", "RUSTC_WORKSPACE_WRAPPER"] {
        shell.env_remove(name);
    }
    shell.output().unwrap()
}

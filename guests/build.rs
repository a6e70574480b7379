//! Builds every guest for `wasm32-wasip1`, some for `wasm32-wasip2`, and lists them for the library.

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::{env, fs};

/// The folders of this one that hold a guest.
const GUESTS: &[&str] = &[
    "hello",
    "keep-alive",
    "kernels",
    "telemetry",
    "spin",
    "eat-memory",
    "overflow",
    "trap",
    "panic",
    "exit",
    "env",
    "files",
    "clock",
];

/// Those that hold what guests share.
const SHARED: &[&str] = &["bus"];

/// Those that are built as components.
const COMPONENTS: &[&str] = &[
    "plain-server",
    "command",
    "exit",
    "env",
    "files",
    "clock",
    "panic",
    "http-hello",
    "http-echo",
    "http-client",
    "http-checks",
];

const MODULE_TARGET: &str = "wasm32-wasip1";
const COMPONENT_TARGET: &str = "wasm32-wasip2";

/// What the cargo (or clippy) that runs this script says about its own build and not about ours.
const INHERITED: &[&str] = &[
    "CARGO_BUILD_RUSTC",
    "CARGO_BUILD_RUSTC_WORKSPACE_WRAPPER",
    "CARGO_BUILD_RUSTC_WRAPPER",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_TARGET_DIR",
    "CLIPPY_ARGS",
    "RUSTC",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTFLAGS",
];

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), Box<dyn Error>> {
    let here = env::var("CARGO_MANIFEST_DIR")?;
    let out = env::var("OUT_DIR")?;
    let (here, out) = (Path::new(&here), Path::new(&out));
    let built = out.join("target");

    println!("cargo::rerun-if-changed=build.rs");
    for shared in ["../Cargo.toml", "../Cargo.lock", "../.cargo/config.toml", "../rust-toolchain.toml"] {
        println!("cargo::rerun-if-changed={shared}");
    }
    for folder in GUESTS.iter().chain(COMPONENTS).chain(SHARED) {
        println!("cargo::rerun-if-changed={folder}");
    }
    compile(here, &built, MODULE_TARGET, GUESTS)?;
    compile(here, &built, COMPONENT_TARGET, COMPONENTS)?;

    let mut list = String::new();
    constants(&mut list, &built, MODULE_TARGET, GUESTS)?;
    writeln!(list, "/// Guests that were built as components, for `{COMPONENT_TARGET}`.\npub mod component {{")?;
    writeln!(list, "    use super::Artifact;")?;
    constants(&mut list, &built, COMPONENT_TARGET, COMPONENTS)?;
    writeln!(list, "}}")?;
    fs::write(out.join("artifacts.rs"), list)?;
    Ok(())
}

fn compile(here: &Path, built: &Path, target: &str, guests: &[&str]) -> Result<(), Box<dyn Error>> {
    let mut cargo = Command::new(env::var("CARGO")?);
    cargo.current_dir(here).args(["build", "--release", "--target", target, "--target-dir"]).arg(built);
    for guest in guests {
        // By its folder: a dependency of some other package may have the same name.
        cargo.arg("--package").arg(format!("path+file://{}", here.join(guest).display()));
    }
    for name in INHERITED {
        cargo.env_remove(name);
    }
    let output = cargo.output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        // What rustc says when it has no standard library for the target.
        let way_out = if said.contains("E0463") || said.contains("target may not be installed") {
            format!("the target is missing: rustup target add {target}\n\n")
        } else {
            String::new()
        };
        return Err(format!("the guests do not build\n{way_out}{said}").into());
    }

    Ok(())
}

fn constants(list: &mut String, built: &Path, target: &str, guests: &[&str]) -> Result<(), Box<dyn Error>> {
    for guest in guests {
        let folder = built.join(target).join("release");
        // What is no program is named as crates are in Rust.
        let program = folder.join(guest).with_extension("wasm");
        let library = folder.join(guest.replace('-', "_")).with_extension("wasm");
        let path = if program.exists() { program } else { library };
        let (name, path) = (guest.to_uppercase().replace('-', "_"), path.display().to_string());
        writeln!(
            list,
            "#[doc = \"`guests/{guest}`, built.\"]\n\
             pub const {name}: Artifact =\n    \
             Artifact {{ name: {guest:?}, path: {path:?}, bytes: include_bytes!({path:?}) }};"
        )?;
    }
    let names = guests.iter().map(|guest| guest.to_uppercase().replace('-', "_"));
    writeln!(list, "/// Every guest.\npub const ALL: &[Artifact] = &[{}];", names.collect::<Vec<_>>().join(", "))?;
    Ok(())
}

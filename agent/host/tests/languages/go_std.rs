//! Go's own tests of its standard library, as a load that nobody here wrote.
//!
//! Those of `os` are left out: they want all of `/`, and files that some packages of Go leave out.

use std::fs;
use std::path::PathBuf;

use dunlin_host::{Directory, Ended, Limits, Program};

use crate::guest;
use crate::toolchain::shell;

pub(crate) const PACKAGES: &[&str] = &["io/fs", "time"];

/// Builds a package's tests, and runs them where they lie, as `go test` would.
pub(crate) fn passes(package: &str) {
    let out = tempfile::tempdir().unwrap();
    let module = out.path().join("test.wasm");
    let command = format!("GOOS=wasip1 GOARCH=wasm go test -c -o '{}' {package} && go env GOROOT", module.display());
    let built = shell(&command, "guests/go");
    assert!(built.status.success(), "{command}\n{}", String::from_utf8_lossy(&built.stderr));
    let goroot = PathBuf::from(String::from_utf8(built.stdout).unwrap().trim());
    let folder = goroot.join("src").join(package);

    // They want memory, and their stacks are deep.
    let limits = Limits { memory_bytes: 512 * 1024 * 1024, ..guest::limits() };
    let program = Program::compile(&fs::read(&module).unwrap(), &limits).unwrap();
    let tmp = tempfile::tempdir().unwrap();
    guest::block_on(async {
        let (mut guest, said) = guest::recorded("test.wasm");
        guest.limits = limits;
        guest.args.push("-test.short".to_owned());
        guest.env.push(("PWD".to_owned(), folder.display().to_string()));
        guest.env.push(("GOROOT".to_owned(), goroot.display().to_string()));
        guest
            .directories
            .push(Directory { read_only: true, ..guest::directory(&goroot, &goroot.display().to_string()) });
        guest.directories.push(guest::directory(tmp.path(), "/tmp"));
        let ended = dunlin_host::run(&program, guest).await;
        assert!(matches!(ended, Ended::Exited(0)), "{ended:?}\n{}{}", said.stdout(), said.stderr());
    });
}

"""Small Debians, as folders: of this machine's architecture, or of a board's by way of an emulator."""

import os
from pathlib import Path

from field import HERE, Failed, run

BINFMT = Path("/proc/sys/fs/binfmt_misc")
# By Debian's names of architectures: how the kernel is told of the emulator.
EMULATORS = {"arm64": "qemu-aarch64", "armhf": "qemu-arm"}

def make_root(arch: str, root: Path | None = None, kernel: str | None = None) -> Path:
    """A small Debian with systemd; made if there is none, which takes some minutes for a board's. One with a kernel
    is another one: nothing is tried in it that a machine would boot with."""
    name = f"{arch}-machine" if kernel else arch
    root = root or Path(os.environ.get("CARGO_TARGET_DIR") or HERE / "target") / "roots" / name
    if arch in EMULATORS:
        register(EMULATORS[arch])
    # The last thing that is done: half a system is none.
    done = root / "etc/hosts"
    if not (done.exists() and "localhost" in done.read_text()):
        root.parent.mkdir(parents=True, exist_ok=True)
        include = ["systemd", "systemd-sysv", "dbus", "ca-certificates", "libgcc-s1"]
        include += [kernel] if kernel else []
        run("debootstrap", "--variant=minbase", f"--arch={arch}", f"--include={','.join(include)}", "bookworm", root)
        done.write_text("127.0.0.1 localhost\n")
    return root


def register(emulator: str) -> None:
    """Has the kernel start a board's programs in the emulator, in a root too, as Debian's package has it at boot."""
    if (BINFMT / emulator).exists():
        return
    try:
        if not (BINFMT / "register").exists():
            run("mount", "-t", "binfmt_misc", "binfmt_misc", BINFMT)
        (BINFMT / "register").write_text(Path(f"/usr/lib/binfmt.d/{emulator}.conf").read_text().strip())
    except (Failed, OSError) as error:
        raise Failed(f"the kernel does not know {emulator}: start systemd-binfmt, or try this as root once ({error})") from error

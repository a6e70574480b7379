"""Debian root file systems, and machines that run in them."""

import os
import subprocess
from pathlib import Path

from field import Failed, await_, run

# A cgroup tree of its own, so that it boots wherever it is: beside another systemd, or without any.
NSPAWN = "umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup && exec systemd-nspawn --register=no --keep-unit"


def make_root(root: Path, arch: str = "amd64") -> None:
    """A small Debian with systemd, if there is none."""
    if not (root / "usr/bin/systemctl").exists():
        root.parent.mkdir(parents=True, exist_ok=True)
        include = "--include=systemd,systemd-sysv,dbus,ca-certificates,libgcc-s1"
        run("debootstrap", "--variant=minbase", f"--arch={arch}", include, "bookworm", root)
    hosts = root / "etc/hosts"
    if not hosts.exists() or "localhost" not in hosts.read_text():
        hosts.write_text("127.0.0.1 localhost\n")


class Machine:
    """A container that boots a systemd in a root, on this machine's network."""

    def __init__(self, root: Path):
        self.root = root

    def __enter__(self) -> "Machine":
        boot = f"{NSPAWN} -D {self.root} --console=read-only --boot"
        self.log = open(self.root.with_suffix(".log"), "w")
        command = ["unshare", "-m", "--propagation", "private", "bash", "-c", boot]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.leader = await_("the machine begins", self.init)
        await_("the machine is up", self.is_up)
        return self

    def __exit__(self, *_) -> None:
        # SIGTERM to systemd-nspawn is an orderly poweroff.
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()

    def init(self) -> int | None:
        """The process that is the first one in there."""
        if self.process.poll() is not None:
            raise Failed(f"it did not boot: {Path(self.log.name).read_text()}")
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for child in map(int, children):
            # The stub that sets the container up is not it yet.
            if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                return child
        return None

    def is_up(self) -> bool:
        done = subprocess.run(self.inside("systemctl", "is-system-running"), capture_output=True, text=True)
        return done.stdout.strip() in ("running", "degraded")

    def inside(self, *command: str) -> list[str]:
        return ["nsenter", "-t", str(self.leader), "-m", "-u", "-i", "-p", *command]

    def run(self, *command: str) -> str:
        return run(*self.inside(*command), env=os.environ | {"SYSTEMD_PAGER": ""})

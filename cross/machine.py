"""Machines to try the units in, each with a systemd of its own: a container, or a whole emulated board."""

import base64
import contextlib
import hashlib
import os
import shlex
import socket
import subprocess
import tempfile
from pathlib import Path

from field import Failed, await_, run

# A cgroup tree of its own, so that it boots wherever it is: beside another systemd, or without any.
NSPAWN = "umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup && exec systemd-nspawn --register=no --keep-unit"
# Where an emulated machine finds this one.
OUTSIDE = "10.0.2.2"
# What an emulated machine's own systemd starts: it runs lines of base64 and answers with what they said.
SHELL = """\
[Unit]
StartLimitIntervalSec=0
[Service]
Restart=always
ExecStart=/bin/sh -c 'exec <>/dev/virtio-ports/shell; while IFS= read -r line; do \
out=$$(sh -c "$$(echo "$$line" | base64 -d)" 2>/run/shell.err); code=$$?; [ $$code = 0 ] || out="$$out$$(cat /run/shell.err)"; \
printf "%%s %%s\\\\n" "$$code" "$$(printf "%%s\\\\n" "$$out" | base64 -w0)" >&0; done'
[Install]
WantedBy=multi-user.target
"""
NETWORK = "[Match]\nName=e*\n[Network]\nDHCP=ipv4\n"


class Machine:
    """What is asked of either."""

    # Where its file system lies, or lay when it was made.
    root: Path

    def run(self, *command: str) -> str:
        """What a command says in there."""
        raise NotImplementedError

    def write(self, path: str, text: str) -> None:
        self.run("sh", "-c", 'mkdir -p "${2%/*}" && printf %s "$1" >"$2"', "sh", text, path)

    def read(self, path: str) -> str:
        return self.run("cat", path)

    def is_up(self) -> bool:
        # It exits with 1 when a unit of Debian's own failed, which is none of our business.
        return self.run("sh", "-c", "systemctl is-system-running || true").strip() in ("running", "degraded")


class Container(Machine):
    """A container that boots a systemd in a root, on this machine's network."""

    def __init__(self, root: Path):
        self.root = root

    def __enter__(self) -> "Container":
        boot = f"{NSPAWN} -D {self.root} --console=read-only --boot"
        self.log = open(self.root.with_suffix(".log"), "w")
        command = ["unshare", "-m", "--propagation", "private", "bash", "-c", boot]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        try:
            self.leader = await_("the machine begins", self.init)
            await_("the machine is up", self.is_up)
        except BaseException:
            self.__exit__()
            raise
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
            with contextlib.suppress(FileNotFoundError):
                if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                    return child
        return None

    def run(self, *command: str) -> str:
        inside = ["nsenter", "-t", str(self.leader), "-m", "-u", "-i", "-p", *command]
        return run(*inside, env=os.environ | {"SYSTEMD_PAGER": ""})


class Emulated(Machine):
    """A whole arm64 machine: firmware's place, kernel, disks. These FILES are on its boot partition, which every computer
    can write; these PORTS of this machine lead to its own."""

    def __init__(self, root: Path, files: dict[str, Path], ports: list[int]):
        self.root, self.files, self.ports = root, files, ports

    def __enter__(self) -> "Emulated":
        self.folder = tempfile.TemporaryDirectory(prefix="machine-", dir=self.root.parent)
        here = Path(self.folder.name)
        self.disk, self.boot, self.channel, self.console = (here / name for name in ("disk", "boot", "shell", "console"))
        try:
            self.make_disks()
            self.power_on()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_) -> None:
        if hasattr(self, "process"):
            self.power_cut()
        self.folder.cleanup()

    def make_disks(self) -> None:
        base = prepare(self.root)
        if not base.exists():
            making = base.with_suffix(".making")
            run("mkfs.ext4", "-q", "-F", "-d", self.root, making, "2G")
            making.rename(base)
        # What a machine writes is its own.
        run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", base, self.disk)
        run("mkfs.vfat", "-C", self.boot, str(64 * 1024))
        for name, file in self.files.items():
            run("mcopy", "-i", self.boot, file, f"::{name}")

    def power_on(self) -> None:
        kernel, initrd = (next((self.root / "boot").glob(name)) for name in ("vmlinuz-*", "initrd.img-*"))
        # A getty would wait for a console that nobody types at.
        words = "root=/dev/vda rw console=ttyAMA0 quiet systemd.mask=serial-getty@ttyAMA0.service"
        forwards = "".join(f",hostfwd=tcp:127.0.0.1:{port}-:{port}" for port in self.ports)
        self.log = open(self.console, "a")
        self.shell = socket.socket(socket.AF_UNIX)
        self.process = subprocess.Popen(
            ["qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a72", "-smp", "2", "-m", "1G", "-display", "none",
             "-kernel", kernel, "-initrd", initrd, "-append", words, "-serial", "stdio", "-monitor", "none",
             "-drive", f"file={self.disk},format=qcow2,if=virtio", "-drive", f"file={self.boot},format=raw,if=virtio",
             "-netdev", f"user,id=net{forwards}", "-device", "virtio-net-pci,netdev=net,romfile=",
             "-device", "virtio-serial", "-chardev", f"socket,id=shell,path={self.channel},server=on,wait=off",
             "-device", "virtserialport,chardev=shell,name=shell"],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
        )
        await_("the machine's shell can be reached", self.connect)
        await_("the machine is up", self.is_up, limit=300)

    def connect(self) -> bool:
        if self.process.poll() is not None:
            raise Failed(f"it did not boot: {self.console.read_text()}")
        # It takes what is said before anybody in there listens.
        self.shell.settimeout(300)
        return self.shell.connect_ex(str(self.channel)) == 0

    def power_cut(self) -> None:
        """What the machine had not yet written to its disk is lost."""
        self.process.kill()
        self.process.wait()
        self.shell.close()
        self.log.close()

    def run(self, *command: str) -> str:
        answer = b""
        try:
            self.shell.sendall(base64.b64encode(shlex.join(map(str, command)).encode()) + b"\n")
            while not answer.endswith(b"\n"):
                if not (part := self.shell.recv(65536)):
                    raise ConnectionError("it is gone")
                answer += part
        except OSError as error:
            raise Failed(f"the machine: {error}\nits console:\n{self.console.read_text()}") from error
        code, said = answer.split()
        said = base64.b64decode(said).decode()
        if code != b"0":
            raise Failed(f"{' '.join(command)} ended with {code.decode()}\n{said}")
        return said


def prepare(root: Path) -> Path:
    """Gives a root what a machine needs: a shell to the outside, a network, the boot partition's place. Where its disk
    is to be: another one for every change of what is in it."""
    system = root / "etc/systemd/system"
    (system / "shell.service").write_text(SHELL)
    (root / "etc/systemd/network/80-wire.network").write_text(NETWORK)
    (root / "etc/fstab").write_text("/dev/vda / ext4 defaults 0 1\n/dev/vdb /boot/firmware vfat defaults 0 2\n")
    (root / "boot/firmware").mkdir(exist_ok=True)
    run("systemctl", "--root", root, "enable", "shell.service", "systemd-networkd.service")
    made_of = SHELL + NETWORK + "".join(sorted(kernel.name for kernel in (root / "boot").glob("vmlinuz-*")))
    return root.with_name(f"{root.name}-{hashlib.sha256(made_of.encode()).hexdigest()[:12]}.ext4")

"""What the units of systemd/ are to do on any machine that has them: the steps of systemd/prove and cross/prove-machine."""

import hashlib
import re
import socket
import time
import tomllib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from field import HERE, Failed, Field, answer, await_, pss_kib
from machine import Machine
from targets import Target

STATE = "/var/lib/private/dunlin"
# What the agent's account may write to: its state, and what is gone when it ends.
WRITABLE = re.compile(r"/(var/lib/(private/)?dunlin|run/dunlin|tmp|var/tmp|dev)(/.*)?$")
# The number of mmap(2), by uname's name of the machine.
MMAP = {"x86_64": 9, "aarch64": 222}


def low_port() -> int:
    """A port below 1024 that is free on this machine."""
    for port in range(80, 1024):
        with socket.socket() as sock, suppress(OSError):
            sock.bind(("0.0.0.0", port))
            return port
    raise Failed("no port below 1024 is free")


def said(step: str) -> None:
    print(f"  {step}", flush=True)


@dataclass
class Service:
    """The units, on a machine that was told to start them."""

    field: Field
    machine: Machine
    target: Target
    # What was installed there.
    binary: Path
    # The one below 1024 that dunlin.socket opens.
    port: int
    # Short, so that a hang is over soon, and long enough for an emulator or a busy machine.
    watchdog_seconds: int = 15

    def drop_ins(self) -> dict[str, str]:
        """What the proof changes of the units, by path."""
        texts = {
            "dunlin.service": f"[Service]\nWatchdogSec={self.watchdog_seconds}\n",
            "dunlin.socket": f"[Socket]\nListenStream=\nListenStream={self.port}\n",
        }
        return {f"/etc/systemd/system/{unit}.d/prove.conf": text for unit, text in texts.items()}

    def show(self, name: str) -> str:
        return self.machine.run("systemctl", "show", "-P", name, "dunlin.service").strip()

    def restarts(self) -> int:
        return int(self.show("NRestarts"))

    def is_active(self) -> bool:
        return self.show("ActiveState") == "active"

    def greets(self) -> bool:
        return (answer(self.port) or "").startswith("Hello")

    def joined(self) -> None:
        await_("dunlin.service is active", self.is_active)
        await_("the board is online", lambda: self.field.state().get("online"))

    def tells_root_alone(self) -> None:
        if "broker   connected" not in (told := self.machine.run("dunlin", "status")):
            raise Failed(f"its door told root: {told}")
        door = self.machine.run("stat", "--format=%a %u", "/run/dunlin/door.sock").strip()
        if door != f"600 {self.show('UID')}":
            raise Failed(f"others are let in at its door: {door}")
        said("its door tells root, and nobody else, how it is")

    def is_light(self, seconds: int) -> None:
        """Weighed on a machine of its own kind; what it may weigh is promised."""
        time.sleep(seconds)
        most = tomllib.loads((HERE / "cross/budgets.toml").read_text())["idle"]["pss_kib"]
        if (pss := pss_kib(self.machine.read(f"/proc/{self.show('MainPID')}/smaps_rollup"))) > most:
            raise Failed(f"it has {pss} KiB of memory at rest, more than {most}")
        said(f"after {seconds} s at rest it has {pss / 1024:.2f} MiB of memory (PSS), in {self.show('TasksCurrent')} thread(s)")

    def answers(self) -> None:
        # The owner allows ports below 1024; the unit's socket opens this one.
        config = "/etc/dunlin/agent.toml"
        self.machine.write(config, self.machine.read(config) + "\n[policy]\nport_min = 80\n")
        self.machine.run("systemctl", "restart", "dunlin.service")
        health = {"http": "/", "port": 7878}
        self.field.ctl("release", self.field.app("hello", "1.0.0", publish=[f"{self.port}:7878"], health=health))
        self.field.ctl("deploy", "hello", "--wait")
        await_("an answer", self.greets)
        said(f"a signed app answers on port {self.port}, which the socket unit opened")

    def denies_writable_code(self) -> None:
        if self.show("MemoryDenyWriteExecute") != "yes":
            raise Failed("MemoryDenyWriteExecute is not in force")
        maps = self.machine.read(f"/proc/{self.show('MainPID')}/maps")
        if found := [line for line in maps.splitlines() if re.search(r" rwx", line)]:
            raise Failed(f"writable and executable: {found}")
        # And it bites: a page to read, write and execute is refused with EPERM under the same filter.
        mmap = MMAP[self.machine.run("uname", "-m").strip()]
        call = f"exit(syscall({mmap}, 0, 4096, 7, 0x22, -1, 0) == -1 ? 0 : 1)"
        self.machine.run("systemd-run", "--wait", "--quiet", "-p", "MemoryDenyWriteExecute=yes", "perl", "-e", call)
        said("no memory is writable and executable, while wasmi runs an app")

    def writes_nowhere_else(self) -> None:
        user = self.show("UID")
        # By its account, in its view of the file system; access(2) knows of read-only mounts too.
        as_it = ("nsenter", "-t", self.show("MainPID"), "-m", "setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups")
        look = ("find", "/", "-path", "/proc", "-prune", "-o", "(", "-type", "f", "-o", "-type", "d", ")", "-writable", "-print")
        # It may not look into every folder either.
        found = self.machine.run("sh", "-c", '"$@" 2>/dev/null || true', "sh", *as_it, *look).split()
        if STATE not in found:
            raise Failed(f"it could not even write to {STATE}: {found}")
        if more := [path for path in found if not WRITABLE.match(path)]:
            raise Failed(f"it could write to {more}")
        said("it can write to its state folder and to nothing else that stays")

    def is_restarted_after_a_hang(self) -> None:
        before = self.restarts()
        self.machine.run("systemctl", "kill", "--signal=STOP", "dunlin.service")
        await_("the watchdog restarts it", lambda: self.restarts() == before + 1 and self.is_active())
        await_("an answer after the hang", self.greets)
        said("a hang is a restart, and what ran runs")

    def replaces_itself(self) -> None:
        program = self.binary.read_bytes()
        # No loader looks at what follows: other programs that do the same.
        nine, ten = program + b"9", program + b"10"

        before = self.restarts()
        name = self.field.release_agent("9.0.0", nine, self.target.triple)
        self.field.ctl("deploy", name, "--wait")
        await_("an answer by the new agent", self.greets)
        if not self.runs(nine) or self.restarts() != before + 1:
            raise Failed(f"it does not run 9.0.0, after {self.restarts() - before} restarts")
        said("a plan replaced the agent; systemd started it, because it had opened a socket for it")

        before = self.restarts()
        self.field.release_agent("9.1.0", (self.machine.root / "usr/bin/false").read_bytes(), self.target.triple)
        self.field.ctl("deploy", name)
        reverted = lambda: any(app["app"] == name and app["phase"] == "reverted" for app in self.field.state().get("apps", []))
        await_("the agent before is back", lambda: reverted() and self.greets())
        if not self.runs(nine) or self.restarts() != before + 2:
            raise Failed(f"it does not run 9.0.0, after {self.restarts() - before} restarts")
        said("one that crashed was started once, and the one before is back")

        self.machine.run("systemctl", "stop", "dunlin.socket", "dunlin.service")
        self.machine.run("systemctl", "start", "--job-mode=ignore-dependencies", "dunlin.service")
        process = (self.show("MainPID"), self.restarts())
        self.field.release_agent("10.0.0", ten, self.target.triple)
        self.field.ctl("deploy", name, "--wait")
        fed = self.show("WatchdogTimestampMonotonic")
        await_("the watchdog is fed", lambda: self.show("WatchdogTimestampMonotonic") != fed)
        if not self.runs(ten) or process != (self.show("MainPID"), self.restarts()):
            raise Failed(f"it does not run 10.0.0, or not in the process {process}")
        self.machine.run("systemctl", "stop", "dunlin.service")
        self.machine.run("systemctl", "start", "dunlin.socket", "dunlin.service")
        await_("the new agent after a restart", lambda: self.runs(ten) and self.greets())
        said("without such a socket it became the next one in the same process, and is that after a restart")

    def runs(self, program: bytes) -> bool:
        """Whether its process is of this program, which a plan brought."""
        return self.running().endswith(f"/agent/{hashlib.sha256(program).hexdigest()}")

    def running(self) -> str:
        """The file of its process's program."""
        return self.machine.run("readlink", f"/proc/{self.show('MainPID')}/exe").strip()

    def needs_no_broker(self) -> None:
        self.field.kill_broker()
        self.machine.run("systemctl", "restart", "dunlin.service")
        await_("an answer without a broker", lambda: self.greets() and self.is_active())
        said("without a broker it is ready too, with what its state folder holds")

    def ends(self) -> None:
        self.machine.run("systemctl", "stop", "dunlin.socket", "dunlin.service")
        if self.show("Result") != "success":
            raise Failed(f"it did not end well: {self.show('Result')}")
        said("it ends when it is told to")

    def tell_why(self, prove: Callable[["Service"], None]) -> None:
        """Proves it; where that fails, with the units' journal."""
        try:
            prove(self)
        except Failed as failed:
            try:
                journal = self.machine.run("journalctl", "--no-pager", "--boot", "-u", "dunlin*")
            except Failed as silent:
                journal = str(silent)
            raise Failed(f"{failed}\nthe journal:\n{journal}") from failed

"""A field to try an agent in: mosquitto with TLS and passwords, a fleet, and a board that joins it.

What is under test is given as the command that runs it, so that it may be an emulator's.
"""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
DEVICE = "pi"
# Longer than anything here takes in an emulator on a busy machine.
LIMIT = 120
# No port is given twice.
PORTS = iter(range(20_000))

# Told to end, a proof ends what it started.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


class Failed(Exception):
    """What was to happen did not."""


def free_port() -> int:
    """A port that nobody listens on. Below those that the kernel gives to clients, which may be anybody's meanwhile."""
    for number in PORTS:
        port = 12_000 + (os.getpid() * 191 + number) % 20_000
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port
    raise Failed("no port is free")


def await_(what: str, ready, limit: float = LIMIT):
    """Asks until the answer is true, and returns it."""
    deadline = time.monotonic() + limit
    while not (answer := ready()):
        if time.monotonic() > deadline:
            raise Failed(f"not within {limit} s: {what}")
        time.sleep(0.05)
    return answer


def run(*command, **options) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise Failed(f"{' '.join(map(str, command))} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def cargo_build(*what) -> Path:
    """The program that this build of ours makes."""
    out = run("cargo", "build", "--locked", *what, "--message-format", "json", cwd=HERE)
    messages = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    made = [m for m in messages if m.get("executable") or any(f.endswith(".wasm") for f in m.get("filenames", []))]
    return Path(made[-1]["executable"] or made[-1]["filenames"][0])


class Field:
    """A folder, a broker and a fleet; leave it and everything has ended."""

    def __init__(self, outside: str | None = None):
        # The address at which boards find this machine, if they are not on it.
        self.outside = outside
        self.ending = contextlib.ExitStack()
        base = Path(os.environ.get("CARGO_TARGET_DIR") or HERE / "target")
        # On a disk: what is written to memory is not counted.
        base.mkdir(exist_ok=True)
        self.dir = Path(self.ending.enter_context(tempfile.TemporaryDirectory(prefix="field-", dir=base)))
        self.port = free_port()
        # As the tests build it: another choice of packages would be another build.
        self.ctl_program = cargo_build("--workspace", "--bin", "dunlinctl")
        self.hello = cargo_build("--release", "--package", "hello", "--target", "wasm32-wasip1")

    def __enter__(self) -> "Field":
        try:
            self.certificates()
            self.broker()
            self.fleet()
        except BaseException:
            self.ending.close()
            raise
        return self

    def __exit__(self, *_) -> None:
        self.ending.close()

    def certificates(self) -> None:
        ec = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
        run("openssl", "req", "-x509", *ec, "-subj", "/CN=the CA of this field", "-keyout", "ca.key", "-out", "ca.pem",
            cwd=self.dir)
        names = "subjectAltName=DNS:localhost" + (f",IP:{self.outside}" if self.outside else "")
        run("openssl", "req", "-x509", *ec, "-subj", "/CN=localhost", "-addext", names,
            "-addext", "basicConstraints=critical,CA:FALSE", "-CA", "ca.pem", "-CAkey", "ca.key",
            "-keyout", "broker.key", "-out", "broker.pem", cwd=self.dir)

    def broker(self) -> None:
        (self.dir / "passwords").touch(mode=0o600)
        for user in ("operator", DEVICE):
            (self.dir / f"{user}.password").write_text(f"the password of {user}")
            run("mosquitto_passwd", "-b", self.dir / "passwords", user, f"the password of {user}")
        (self.dir / "mosquitto.conf").write_text(
            f"listener {self.port} 127.0.0.1\ncertfile {self.dir}/broker.pem\nkeyfile {self.dir}/broker.key\n"
            f"allow_anonymous false\npassword_file {self.dir}/passwords\nset_tcp_nodelay true\n"
            + ("user root\n" if os.getuid() == 0 else "")
        )
        log = open(self.dir / "mosquitto.log", "w")
        path = os.environ["PATH"] + ":/usr/sbin"
        self.mosquitto = self.start(["mosquitto", "-c", str(self.dir / "mosquitto.conf")], log, env=os.environ | {"PATH": path})
        await_("mosquitto listens", lambda: is_open(self.port))

    def fleet(self) -> None:
        url = f"mqtts://localhost:{self.port}"
        run(self.ctl_program, "init", "flock", "--broker", url, "--ca", "ca.pem", "--user", "operator",
            "--password-file", "operator.password", cwd=self.dir)
        address = ("--broker", f"mqtts://{self.outside}:{self.port}") if self.outside else ()
        self.ctl("enroll", DEVICE, "--labels", "site=bench", "--password-file", self.dir / f"{DEVICE}.password",
                 "--output", self.dir / "board.enroll", *address)

    def kill_broker(self) -> None:
        self.mosquitto.kill()
        self.mosquitto.wait()

    def start(self, command: list[str], log, **options) -> subprocess.Popen:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **options)
        self.ending.callback(stop, process)
        return process

    def ctl(self, *args) -> str:
        """dunlinctl, in the fleet's folder."""
        return run(self.ctl_program, *args, cwd=self.dir / "flock")

    def board(self, command: list[str], env: dict[str, str] | None = None) -> "Board":
        """The enrolled board, run by this command: it joins, and its agent starts."""
        return Board(self, command, env or {})

    def app(self, name: str, version: str, **settings) -> Path:
        """An app.toml for guests/hello."""
        lines = {"name": name, "version": version, "module": str(self.hello), "memory": "2MiB"} | settings
        health = lines.pop("health", None)
        text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in lines.items())
        if health:
            text += "[health]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in health.items())
        path = self.dir / f"{name}-{version}.toml"
        path.write_text(text)
        return path

    def release_agent(self, version: str, program: bytes, target: str) -> str:
        """Releases a program as the agent of a target, by a key that is there for nothing else; what plans call it."""
        name = f"dunlin-{target}"
        key = self.dir / "flock/keys/release-agent.key"
        if not key.exists():
            self.ctl("key", "new", key)
            self.ctl("root", "add-key", "release", key, "--apps", name)
        (self.dir / f"agent-{version}").write_bytes(program)
        path = self.dir / f"agent-{version}.toml"
        path.write_text(f'kind = "agent"\nversion = "{version}"\ntarget = "{target}"\nprogram = "agent-{version}"\n')
        self.ctl("release", path)
        return name

    def state(self) -> dict:
        """What the board says of itself; nothing before it has."""
        devices = json.loads(self.ctl("status", "--json"))
        return next((device for device in devices if device["device"] == DEVICE), {})


class Board:
    """An agent, as a process."""

    def __init__(self, field: Field, command: list[str], env: dict[str, str]):
        self.field, self.command, self.env = field, command, env
        self.etc = field.dir / "etc"
        self.log = field.dir / "agent.log"
        config = self.etc / "agent.toml"
        run(*command, "join", field.dir / "board.enroll", "--config", config)
        text = config.read_text()
        config.write_text(f'state = "{field.dir}/state"\nbind = "127.0.0.1"\n{text}')
        run(*command, "check", "--config", config)
        self.process = self.start()

    def start(self) -> subprocess.Popen:
        arguments = [*self.command, "agent", "--config", str(self.etc / "agent.toml")]
        return self.field.start(arguments, open(self.log, "a"), env=os.environ | self.env)

    def restart(self) -> None:
        """The power goes, and comes back."""
        self.process.kill()
        self.process.wait()
        self.process = self.start()


def stop(process: subprocess.Popen) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def pss_kib(rollup: str) -> int:
    """A process's share of the memory, by the text of its smaps_rollup: what it has alone, and its part of the rest."""
    return int(re.search(r"^Pss:\s+(\d+)", rollup, re.M)[1])


def is_open(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def answer(port: int) -> str | None:
    """What HTTP says on this port of this machine; nothing where nobody does."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as response:
            return response.read().decode()
    except OSError:
        return None

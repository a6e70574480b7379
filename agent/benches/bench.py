"""What the comparisons here share: programs to hold against each other, and results that are kept."""

import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT / "cross"))

from field import Failed, await_, cargo_build, free_port, is_open, run, stop  # noqa: E402

# Where plain-server listens; nobody can tell it another one.
PLAIN = 7878


@dataclass
class Server:
    """A server that answers HTTP, and how to start it on a port."""

    name: str
    # What it serves: only servers of one kind do the same.
    kind: str
    command: Callable[[int], list[str]]
    # It finds its listener as descriptor 3.
    inherits: bool = False
    # It listens there, whatever we say.
    port: int | None = None
    # What ends it, where its process only stands for it.
    end: list[str] | None = None

    def start(self) -> tuple[subprocess.Popen, int]:
        port = self.port or free_port()
        if is_open(port):
            raise Failed(f"somebody listens on port {port} already, and {self.name} needs it")
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        if not self.inherits:
            return subprocess.Popen(self.command(port), **options), port
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", port))
            listener.listen(128)
            given = lambda: os.dup2(listener.fileno(), 3)
            return subprocess.Popen(self.command(port), pass_fds=(3,), preexec_fn=given, **options), port


def end(server: Server, process: subprocess.Popen) -> None:
    if server.end:
        run(*server.end)
    stop(process)


def wasmtime() -> str:
    found = shutil.which("wasmtime", path=f"{ROOT}/target/tools/bin:{os.environ['PATH']}")
    return found or sys.exit("wasmtime is not installed: agent/benches/needs")


def dunlin() -> str:
    """The agent, as it is released."""
    return str(cargo_build("--release", "--package", "dunlin", "--bin", "dunlin"))


def module(package: str) -> str:
    return str(cargo_build("--release", "--package", package, "--target", "wasm32-wasip1"))


def component(package: str) -> str:
    return str(cargo_build("--release", "--package", package, "--target", "wasm32-wasip2"))


def native(package: str, *rustflags: str) -> str:
    """A guest's source, built for this machine."""
    if not rustflags:
        return str(cargo_build("--release", "--package", package))
    flags = {"RUSTFLAGS": " ".join(rustflags), "CARGO_TARGET_DIR": str(ROOT / "target/tools/static")}
    triple = "x86_64-unknown-linux-gnu" if platform.machine() == "x86_64" else f"{platform.machine()}-unknown-linux-gnu"
    run("cargo", "build", "--locked", "--release", "--package", package, "--target", triple, cwd=ROOT, env=os.environ | flags)
    return f"{flags['CARGO_TARGET_DIR']}/{triple}/release/{package}"


def servers() -> list[Server]:
    """The same two servers in each engine: one that is given its listener, and one that opens it."""
    agent, other = dunlin(), wasmtime()
    hello, plain = module("hello"), component("plain-server")
    natives = native("hello"), native("plain-server")
    listen = lambda port: ["-S", "preview2=n", "-S", f"tcplisten=127.0.0.1:{port}"]
    return [
        Server("dunlin", "module", lambda port: [agent, "run", hello, "-p", f"127.0.0.1:{port}:7878"]),
        Server("wasmtime", "module", lambda port: [other, "run", *listen(port), hello]),
        Server("native", "module", lambda port: [natives[0]], inherits=True),
        Server("dunlin", "component", lambda port: [agent, "run", plain, "-p", f"127.0.0.1:{port}:{PLAIN}"]),
        Server("wasmtime", "component", lambda port: [other, "run", "-S", "inherit-network", plain], port=PLAIN),
        Server("native", "component", lambda port: [natives[1]], port=PLAIN),
    ]


def answers(port: int) -> bool:
    """Whether an HTTP server says 200 there."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return connection.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def median(values) -> float:
    return statistics.median(values)


def pss_kib(pid: int) -> int:
    """What the kernel says that a process holds, its share of what it has in common with others included."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))


def keep(bench: str, unit: str, rows: list[dict]) -> None:
    """Writes what was measured where `chart` finds it."""
    machine = {"cpu": cpu(), "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}
    result = {"bench": bench, "unit": unit, "on": time.strftime("%Y-%m-%d"), "machine": machine, "rows": rows}
    path = HERE / "results" / f"{bench}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"kept in {path.relative_to(ROOT)}; agent/benches/chart draws it")


def cpu() -> str:
    names = [line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()


def table(head: list[str], rows: list[list]) -> None:
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")


__all__ = [
    "PLAIN", "ROOT", "Failed", "Server", "answers", "await_", "cargo_build", "component", "dunlin", "end", "free_port", "keep", "median",
    "module", "native", "pss_kib", "run", "servers", "stop", "table", "wasmtime",
]

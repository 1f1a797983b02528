"""A Dask scheduler and workers as processes of their own, talking over TCP on this machine."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from support.command import environment


def free_port() -> int:
    """Return a TCP port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class TcpCluster:
    """A running scheduler."""

    address: str
    log: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def spawn(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a Dask program."""
        with open(self.log, "ab") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", *arguments], env=environment(), stdout=file, stderr=file
            )
        self.processes.append(process)
        return process

    def add_worker(self, folder: Path) -> subprocess.Popen[bytes]:
        """Start a worker with one thread and no nanny."""
        return self.spawn(
            "distributed.cli.dask_worker",
            self.address,
            *("--nthreads", "1", "--no-nanny", "--no-dashboard"),
            *("--local-directory", str(folder)),
        )


@contextmanager
def tcp_cluster(folder: Path, workers: int) -> Iterator[TcpCluster]:
    """Give a scheduler with workers; every process is ended afterwards."""
    port = free_port()
    cluster = TcpCluster(f"tcp://127.0.0.1:{port}", folder / "dask.log")
    try:
        cluster.spawn(
            "distributed.cli.dask_scheduler",
            *("--host", "127.0.0.1", "--port", str(port), "--no-dashboard", "--no-jupyter"),
        )
        wait_for(port)
        for index in range(workers):
            cluster.add_worker(folder / f"worker-{index}")
        yield cluster
    finally:
        for process in cluster.processes:
            process.kill()
        for process in cluster.processes:
            process.wait()


def wait_for(port: int, seconds: float = 60) -> None:
    """Wait until something listens on a port."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise TimeoutError(f"nothing listens on port {port}")

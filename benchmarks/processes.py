"""Whole processes, measured from outside: wall time, processor time, resident memory."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SAMPLE_S = 0.05
# A run with failed rows under its budget ends with 4; for time and memory that is a whole run.
FINISHED = (0, 4)


@dataclass(frozen=True, slots=True)
class Measured:
    """One finished process.

    Attributes:
        wall_s: From start to end, the interpreter's start included.
        cpu_s: Processor seconds of the process and its children.
        others_s: Processor seconds that everything else on the machine used meanwhile.
        output: Standard output.
        peak_bytes: Most resident memory of the process, sampled; 0 when not asked for.
        peak_children_bytes: The same for its largest child.
        peak_total_bytes: The same for all of them together.
    """

    wall_s: float
    cpu_s: float
    others_s: float
    output: str
    peak_bytes: int = 0
    peak_children_bytes: int = 0
    peak_total_bytes: int = 0


@dataclass
class Sampler:
    """Samples the resident memory of a process and its children until it is stopped."""

    process_id: int
    peak: int = 0
    peak_child: int = 0
    peak_total: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)

    def start(self) -> threading.Thread:
        """Start sampling in a thread of its own."""
        thread = threading.Thread(target=self._work, daemon=True, name="sampler")
        thread.start()
        return thread

    def stop(self) -> None:
        """Stop sampling."""
        self._stop.set()

    def _work(self) -> None:
        import psutil

        while not self._stop.wait(SAMPLE_S):
            try:
                parent = psutil.Process(self.process_id)
                own = parent.memory_info().rss
                children = [_resident(child) for child in parent.children(recursive=True)]
            except psutil.Error:
                return
            self.peak = max(self.peak, own)
            self.peak_child = max(self.peak_child, *children, 0)
            self.peak_total = max(self.peak_total, own + sum(children))


def _resident(process: object) -> int:
    import psutil

    try:
        return int(process.memory_info().rss)  # type: ignore[attr-defined]
    except psutil.Error:
        return 0


def measure(
    command: Sequence[str],
    *,
    threads: int | None = None,
    passive: bool = True,
    sample_memory: bool = False,
    timeout_s: float = 900,
) -> Measured:
    """Run a command and return what it took.

    Args:
        command: Program and arguments.
        threads: Value of the usual thread variables; None to leave them unset.
        passive: Whether compute threads sleep while they wait, as our workers' do, instead of
            spinning.
        sample_memory: Whether to sample resident memory.
        timeout_s: Seconds after which the process is killed.

    Raises:
        RuntimeError: The process failed; the end of its standard error is in the message.
    """
    with tempfile.TemporaryFile() as errors, tempfile.TemporaryFile() as output:
        before, busy = resource.getrusage(resource.RUSAGE_CHILDREN), _busy_s()
        start = time.perf_counter()
        process = subprocess.Popen(
            list(command),
            stdout=output,
            stderr=errors,
            cwd=ROOT,
            env=_environment(threads, passive),
        )
        sampler = Sampler(process.pid)
        thread = sampler.start() if sample_memory else None
        code = _wait(process, timeout_s)
        wall = time.perf_counter() - start
        if thread is not None:
            sampler.stop()
            thread.join()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        errors.seek(0)
        output.seek(0)
        text = output.read().decode(errors="replace")
        if code not in FINISHED:
            cause = errors.read().decode(errors="replace")[-1000:] + _failures(text)
            raise RuntimeError(f"{Path(command[0]).name} ended with {code}: {cause}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    others = max(0.0, _busy_s() - busy - cpu)
    return Measured(wall, cpu, others, text, sampler.peak, sampler.peak_child, sampler.peak_total)


def _failures(output: str) -> str:
    """Return what a summary in JSON says about failures, without texts of the data."""
    try:
        summary = json.loads(output)
        return f" {summary['classes']} {summary['failed_cells']}"[:1000]
    except (ValueError, TypeError, KeyError):
        return ""


def _busy_s() -> float:
    """Return the processor seconds used on this machine since it started."""
    import psutil

    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0))


def _wait(process: subprocess.Popen[bytes], timeout_s: float) -> int:
    try:
        return process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _environment(threads: int | None, passive: bool) -> Mapping[str, str]:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT / "src")}
    environment.pop("OMP_WAIT_POLICY", None)
    if passive:
        environment["OMP_WAIT_POLICY"] = "PASSIVE"
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        environment.pop(name, None)
        if threads is not None:
            environment[name] = str(threads)
    return environment


def pipeline(*arguments: str | Path) -> list[str]:
    """Return the command line of `pipeline`, as the installed script where there is one."""
    script = Path(sys.executable).parent / "pipeline"
    start = [str(script)] if script.exists() else [sys.executable, "-m", "affectflow.pipeline.cli"]
    return [*start, *(str(argument) for argument in arguments)]

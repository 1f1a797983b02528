"""`python -m benchmarks.run [names] [--quick]`: measure, write JSON and the table for people."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import table
from .machine import describe

NAMES = (
    "startup",
    "store",
    "planning",
    "memory",
    "clip",
    "regions",
    "deepfillv2",
    "audio",
    "mult",
    "gather_rows",
    "loader",
)
RESULTS = Path(__file__).parent / "results"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the named benchmarks, all by default; 1 when one could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it works")
    parser.add_argument("--results", type=Path, default=None, help="folder for the results")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.names) - set(NAMES))
    if unknown:
        parser.error(f"unknown benchmark '{unknown[0]}'; known: {', '.join(NAMES)}")
    # Quick numbers say little: they never overwrite the ones that are kept.
    results = options.results or (RESULTS / "quick" if options.quick else RESULTS)
    failed = [name for name in options.names or NAMES if not run_one(name, options.quick, results)]
    table.write(results)
    print(f"table: {_shown(results / 'README.md')}")
    return 1 if failed else 0


def run_one(name: str, quick: bool, results: Path) -> bool:
    """Run one benchmark in a folder of its own and write its result; False when it failed."""
    module = importlib.import_module(f"{__package__}.{name}")
    facts = describe()
    workdir = Path(tempfile.mkdtemp(prefix=f"affectflow-bench-{name}-"))
    keep_bytecode(workdir / "bytecode")
    start = time.perf_counter()
    try:
        found: dict[str, Any] = module.run(workdir, quick)
    except (RuntimeError, OSError) as error:
        print(f"{name}: could not be measured: {error}", file=sys.stderr)
        return False
    finally:
        shutil.rmtree(workdir, ignore_errors=True)
    value = {
        "name": name,
        "title": module.TITLE,
        "quick": quick,
        "seconds": round(time.perf_counter() - start, 1),
        **facts,
        **found,
    }
    results.mkdir(parents=True, exist_ok=True)
    path = results / f"{name}.json"
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{name}: {found['headline']} (target {found['target']}) in {value['seconds']} s")
    return True


def keep_bytecode(folder: Path) -> None:
    """Let measured processes keep compiled bytecode, as installed programs do.

    Where an environment forbids it, every process would compile torch from source again.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder)


def _shown(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return path.name


if __name__ == "__main__":
    sys.exit(main())

"""`pipeline doctor`: what is usable on this machine, and what to do about what is not."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from . import options as opt

app = typer.Typer(help="Say what is usable on this machine.", rich_markup_mode=None)

DISTRIBUTION = "affectflow"


@app.callback(invoke_without_command=True)
def doctor(store: opt.Store = opt.DEFAULT_STORE, json_output: opt.Json = False) -> None:
    """Say what is usable on this machine: packages, models, accelerator, store, threads."""
    from . import show

    found = examine(store)
    if json_output:
        show.print_json(found)
        return
    machine = found["machine"]
    show.print_table("Machine", ("what", "found"), [(k, str(v)) for k, v in machine.items()])
    rows = [
        (extra["extra"], extra["usable"], _package_list(extra["packages"]), extra["hint"])
        for extra in found["extras"]
    ]
    show.print_table("Packages", ("extra", "usable", "packages", "to get it"), rows)
    weights = [(one["name"], one["present"], one["hint"]) for one in found["weights"]]
    show.print_table("Weights", ("weights", "here", "to get it"), weights)
    _print_store(found["store"])


def _print_store(store: dict[str, Any]) -> None:
    from . import show

    state = "can be written" if store["writable"] else f"cannot be written: {store['problem']}"
    show.print_table(
        "Store",
        ("folder", "state", "free"),
        [(store["folder"], state, show.size_text(store["free_bytes"]))],
    )


def _package_list(packages: list[dict[str, Any]]) -> str:
    return ", ".join(f"{one['name']} {one['version'] or '-'}" for one in packages)


def examine(store: Path) -> dict[str, Any]:
    """Return everything that is looked at, as JSON; nothing here raises or writes."""
    from ..weights import statuses

    return {
        "machine": _machine() | _accelerator(),
        "extras": list(_extras()),
        "weights": [one.to_json() for one in statuses()],
        "store": _store(store),
    }


def _machine() -> dict[str, Any]:
    import psutil

    from ..stage import library_version

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "affectflow": library_version(DISTRIBUTION),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "usable_cores": usable,
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "memory_free_gb": round(psutil.virtual_memory().available / 2**30, 1),
        "thread_variables": {
            name: os.environ[name]
            for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
            if name in os.environ
        },
    }


def _accelerator() -> dict[str, Any]:
    try:
        import torch
    except (ImportError, OSError) as error:
        # A wheel for another platform fails with OSError when its libraries are loaded.
        return {"torch_threads": None, "gpu": f"torch cannot be imported: {error}"}
    if not torch.cuda.is_available():
        return {"torch_threads": torch.get_num_threads(), "gpu": "none"}
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {"torch_threads": torch.get_num_threads(), "gpu": ", ".join(names)}


def _extras() -> Iterator[dict[str, Any]]:
    """Yield each extra with its packages; an extra is usable when all of them are installed."""
    for extra, requirements in sorted(required_packages().items()):
        packages = [_package(name, specifier) for name, specifier in sorted(requirements.items())]
        usable = all(one["usable"] for one in packages)
        hint = "" if usable else f"pip install '{DISTRIBUTION}[{extra}]'"
        if extra == "core" and not usable:
            hint = f"pip install {DISTRIBUTION}"
        yield {"extra": extra, "usable": usable, "packages": packages, "hint": hint}


def _package(name: str, specifier: str) -> dict[str, Any]:
    from packaging.specifiers import SpecifierSet

    from ..stage import library_version

    version = library_version(name)
    there = version != "absent"
    usable = there and SpecifierSet(specifier).contains(version, prereleases=True)
    return {
        "name": name,
        "version": version if there else None,
        "needs": specifier,
        "usable": usable,
    }


def required_packages() -> dict[str, dict[str, str]]:
    """Return extra → package → version specifier, from the installed metadata.

    Packages without an extra are under ``core``; extras of our own are resolved to their packages.
    """
    import importlib.metadata

    from packaging.requirements import Requirement

    try:
        metadata = importlib.metadata.metadata(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        # Run from a source tree that was never installed.
        return {}
    extras = metadata.get_all("Provides-Extra") or []
    found: dict[str, dict[str, str]] = {name: {} for name in ("core", *extras)}
    includes: dict[str, set[str]] = {name: set() for name in found}
    for line in importlib.metadata.requires(DISTRIBUTION) or []:
        requirement = Requirement(line)
        for owner in _owners(requirement.marker, extras):
            if requirement.name == DISTRIBUTION:
                includes[owner] |= requirement.extras
            else:
                found[owner][requirement.name] = str(requirement.specifier)
    return {name: _resolved(name, found, includes) for name in found if name != "all"}


def _owners(marker: Any, extras: list[str]) -> list[str]:
    """Return the extras a requirement belongs to, or ``core``."""
    if marker is None or marker.evaluate({"extra": ""}):
        return ["core"]
    return [extra for extra in extras if marker.evaluate({"extra": extra})]


def _resolved(
    name: str, found: dict[str, dict[str, str]], includes: dict[str, set[str]]
) -> dict[str, str]:
    packages = dict(found[name])
    for included in includes[name]:
        packages = _resolved(included, found, includes) | packages
    return packages


def _store(store: Path) -> dict[str, Any]:
    """Return whether the store, or the nearest folder above it that exists, can be written."""
    folder = store.absolute()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    problem = ""
    if not existing.is_dir():
        problem = f"'{existing}' is not a folder"
    elif not os.access(existing, os.W_OK | os.X_OK):
        problem = f"no permission to write in '{existing}'"
    free = shutil.disk_usage(existing).free
    return {
        "folder": str(folder),
        "exists": folder.exists(),
        "writable": not problem,
        "problem": problem,
        "free_bytes": free,
    }

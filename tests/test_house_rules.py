"""The rules of the house, held by a test."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.command import environment

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("kernels", "models", "pipeline", "dags")
ALLOWED = {
    "kernels": set(),
    "models": {"kernels"},
    "pipeline": {"models", "kernels"},
    "dags": {"pipeline"},
}
MAX_LINES = 400
BANNED_NAMES = {"utils.py", "helpers.py", "common.py"}


def sources() -> list[Path]:
    return sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def imported_folders(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "affectflow" and len(parts) > 1:
                yield parts[1]


def test_there_are_sources() -> None:
    assert len(sources()) > 30


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    folder = path.relative_to(ROOT).parts[0]
    wrong = set(imported_folders(path)) - ALLOWED[folder]
    assert not wrong, f"{folder} may import {ALLOWED[folder] or 'nothing of ours'}, not {wrong}"


@pytest.mark.parametrize("folder", FOLDERS)
def test_top_folders_are_no_packages(folder: str) -> None:
    assert not (ROOT / folder / "__init__.py").exists()
    link = ROOT / "src" / "affectflow" / folder
    assert link.is_symlink()
    assert not link.readlink().is_absolute()


def test_files_are_small_and_named_by_what_they_are() -> None:
    long = {str(path): n for path in sources() if (n := len(path.read_text().splitlines())) > 400}
    assert not long, f"over {MAX_LINES} lines: {long}"
    assert not [path for path in sources() if path.name in BANNED_NAMES]


def test_kernels_have_their_four_files_and_a_test() -> None:
    for op in (ROOT / "kernels").glob("*/op.py"):
        for name in ("reference.py", "kernel.py", "cases.py", "README.md"):
            assert (op.parent / name).exists(), f"{op.parent.name} lacks {name}"
        assert list((ROOT / "tests" / "kernels").glob(f"test_{op.parent.name}*.py"))


def test_command_line_imports_nothing_heavy() -> None:
    code = (
        "import sys; import affectflow.pipeline.cli.main; "
        "heavy = {'torch', 'dask', 'pyarrow', 'transformers', 'cv2', 'numpy', 'pydantic'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_every_manifest_validates() -> None:
    from affectflow.pipeline.loading import names
    from affectflow.pipeline.manifest import dataset_names, load_manifest

    assert dataset_names()
    for name in dataset_names():
        manifest = load_manifest(name)
        assert manifest.name == name
        assert manifest.reader in names("datasets")


def readme_commands() -> list[str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(?:bash|sh)\n(.*?)```", text, flags=re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip().startswith("pipeline ")]


def test_every_command_in_the_readme_parses() -> None:
    import typer

    from affectflow.pipeline.cli.main import app

    command = typer.main.get_command(app)
    assert readme_commands()
    for line in readme_commands():
        arguments = shlex.split(line.partition("#")[0])[1:]
        current, context = command, None
        while True:
            context = current.make_context(
                current.name or "pipeline", list(arguments), parent=context, resilient_parsing=False
            )
            group = getattr(current, "commands", None)
            if group is None:
                break
            name = next(word for word in arguments if not word.startswith("-"))
            assert name in group, f"README: there is no command '{line}'"
            arguments = arguments[arguments.index(name) + 1 :]
            current = group[name]


def test_no_paths_of_a_machine_are_written_down() -> None:
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    home = str(ROOT.parent) + "/"
    if home == "//":
        pytest.skip("the checkout lies in the root folder")
    found = []
    for name in tracked:
        path = ROOT / name
        if path.is_symlink() or not path.is_file():
            continue
        if home.encode() in path.read_bytes():
            found.append(name)
    assert not found

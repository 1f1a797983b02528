"""One run from configuration to summary: ingest, plan, execute, record.

```
RunConfig ─► open_session ─► Session (samples, plan) ─► execute ─► Summary (rows, exit code)
```

A run leaves ``runs/<run>/run.json`` (resolved configuration, fingerprints, summary), from which
every later command (`status`, `retry`, `quarantine`, `report`) starts.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..config import RunConfig, parse
from ..errors import StoreError
from ..ingest.dataset import Progress as Teller
from ..ingest.dataset import default_root, ingest_dataset, iter_problem_rows
from ..manifest import Manifest, load_manifest
from ..records import FeatureSpec, source_key
from ..stage import library_version
from ..store.layout import StoreLayout, write_json
from ..store.quarantine import quarantine_rows
from ..store.reader import OutputFolder
from ..store.runs import RUN_NAME, run_records
from ..store.samples import SamplesTable
from .clusters import open_executor
from .execute import Driver, InlineExecutor, Progress, Watcher
from .graph import SAMPLES, Dag
from .plan import Plan, make_plan

OK, FAILED_ROWS, OVER_BUDGET = 0, 4, 5

DagBuilder = Callable[[RunConfig, str], Dag]


@dataclass(frozen=True)
class Session:
    """A configuration applied to a store: samples read, plan made."""

    config: RunConfig
    layout: StoreLayout
    manifest: Manifest
    root: Path
    samples: SamplesTable
    build: DagBuilder
    plan: Plan


@dataclass(frozen=True)
class FeatureCount:
    """Rows of one feature or table by status."""

    name: str
    node: str
    fingerprint: str
    ok: int
    absent: int
    failed: int
    bytes: int
    kind: str


@dataclass(frozen=True)
class Summary:
    """What a run ended with."""

    run: str
    dataset: str
    samples: int
    statuses: Mapping[str, int]
    cells: Mapping[str, int]
    outputs: tuple[FeatureCount, ...]
    failed_samples: int
    failed_share: float
    classes: Mapping[str, int]
    failed_cells: Mapping[str, str]
    empty: tuple[str, ...]
    warnings: tuple[str, ...]
    seconds: float
    lanes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    exit_code: int = OK

    def to_json(self) -> dict[str, Any]:
        """Return the summary as JSON."""
        return asdict(self)


def open_session(
    config: RunConfig,
    store: Path,
    build: DagBuilder,
    tell: Teller = lambda message: None,
) -> Session:
    """Read the dataset into the samples table and plan; no stage is run.

    Raises:
        InvalidInput: Files, weights or configuration are not usable.
    """
    layout = StoreLayout(store.absolute())
    manifest = load_manifest(config.dataset)
    root = (Path(config.root) if config.root else default_root(manifest, layout)).absolute()
    samples = ingest_dataset(
        manifest,
        root,
        layout,
        limit=config.limit,
        shard_rows=config.engine.shard_rows,
        threads=max(2, os.cpu_count() or 1),
        progress=tell,
    )
    tell("planning")
    plan = make_plan(build(config, str(layout.root)), samples, layout)
    return Session(config, layout, manifest, root, samples, build, plan)


def replanned(session: Session) -> Plan:
    """Return the plan as the disk has it now."""
    dag = Dag(tuple(planned.node for planned in session.plan.nodes.values()))
    return make_plan(dag, session.samples, session.layout)


def execute(
    session: Session,
    *,
    cluster: str = "local",
    workers: int | None = None,
    watcher: Watcher = lambda progress, label: None,
    only_keys: Mapping[tuple[str, int], frozenset[str]] | None = None,
) -> Summary:
    """Run what is not cached and record the run.

    Args:
        session: What to run.
        cluster: ``inline``, ``local`` or a scheduler's address.
        workers: Worker processes for ``local``.
        watcher: Told after every cell.
        only_keys: For a retry: the rows to compute again, by cell.

    Raises:
        AffectflowError: The run cannot go on; running again goes on from what is committed.
    """
    start = time.perf_counter()
    name = _new_run(session.layout)
    _record(session, name, {"cluster": cluster, "state": "running"})
    idle = only_keys is None and not session.plan.todo()
    engine = session.config.engine
    try:
        with open_executor("inline" if idle else cluster, workers, engine) as executor:
            slots = 0 if isinstance(executor, InlineExecutor) else executor.slots
            plan, root = session.plan, session.root
            progress = Driver(plan, root, engine, executor, watcher, only_keys).run()
    except BaseException as error:
        # The run ends here; a full disk must not hide why.
        with contextlib.suppress(StoreError):
            _record(session, name, {"cluster": cluster, "state": "stopped", "cause": str(error)})
        raise
    summary = summarise(session, progress, name, time.perf_counter() - start)
    facts = {"cluster": cluster, "workers": slots, "state": "finished"}
    _record(session, name, {**facts, "summary": summary.to_json()})
    return summary


def _new_run(layout: StoreLayout) -> str:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3]
    name = f"{stamp}-{os.getpid()}"
    (layout.runs / name).mkdir(parents=True, exist_ok=True)
    return name


def _record(session: Session, name: str, facts: Mapping[str, Any]) -> None:
    dataset = session.config.dataset
    if Path(dataset).is_file():
        dataset = str(Path(dataset).absolute())
    value = {
        "run": name,
        "config": {**session.config.model_dump(mode="json"), "dataset": dataset},
        "root": str(session.root),
        "samples": session.samples.path.name,
        "nodes": {key: planned.fingerprint for key, planned in session.plan.nodes.items()},
        "versions": {"affectflow": library_version("affectflow")},
        **facts,
    }
    write_json(session.layout.runs / name / RUN_NAME, value)


def failed_rows(session: Session) -> Iterator[dict[str, Any]]:
    """Yield every failed row of the session's plan: node, key, output, class, message, hint."""
    for row in iter_problem_rows(session.samples):
        if row["status"] not in {"duplicate_row", "dropped"}:
            yield {
                "node": SAMPLES,
                "key": row["key"],
                "output": SAMPLES,
                "class": row["status"],
                "message": row["reason"],
                "hint": "see `pipeline datasets validate`",
                "shard": row["shard"],
            }
    for name, planned in session.plan.nodes.items():
        committed = OutputFolder(planned.outputs[0][1], "").shards
        for row in quarantine_rows(planned.quarantine, committed):
            yield {"node": name, **row}


def sample_key(plan: Plan, node: str, key: str) -> str:
    """Return the key of the sample that a row of a node belongs to: a child's is its source's."""
    made_from = node != SAMPLES and plan.nodes[node].node.rows != SAMPLES
    return source_key(key) if made_from else key


def summarise(session: Session, progress: Progress | None, run: str, seconds: float) -> Summary:
    """Return what the store holds for a session now."""
    keys: set[str] = set()
    classes: dict[str, set[str]] = {}
    for row in failed_rows(session):
        sample = sample_key(session.plan, row["node"], row["key"])
        keys.add(sample)
        classes.setdefault(row["class"], set()).add(sample)
    outputs = tuple(_output_counts(session))
    total = session.samples.num_rows
    share = len(keys) / max(1, total)
    empty = tuple(
        item.name
        for item in outputs
        if item.ok == 0 and session.plan.nodes[item.node].node.rows == SAMPLES
    )
    errors = dict(progress.errors) if progress else {}
    code = OK
    if keys or any(item.failed for item in outputs):
        code = FAILED_ROWS
    if progress is not None and progress.missing:
        errors["missing"] = f"{progress.missing} shards are not computed: `pipeline run extract`"
    if share > session.config.engine.max_failed or errors or empty:
        code = OVER_BUDGET
    return Summary(
        run=run,
        dataset=session.samples.dataset,
        samples=total,
        statuses=session.samples.info["statuses"],
        cells=_cells(progress),
        outputs=outputs,
        failed_samples=len(keys),
        failed_share=share,
        classes={name: len(found) for name, found in sorted(classes.items())},
        failed_cells=errors,
        empty=empty,
        warnings=tuple(session.plan.warnings()),
        seconds=round(seconds, 3),
        lanes=_lanes(progress),
        exit_code=code,
    )


def _cells(progress: Progress | None) -> dict[str, int]:
    if progress is None:
        return {}
    names = ("cached", "adopted", "done", "failed", "retried", "missing")
    return {name: int(getattr(progress, name)) for name in names}


def _lanes(progress: Progress | None) -> dict[str, dict[str, float]]:
    lanes: dict[str, dict[str, float]] = {}
    for receipt in progress.receipts if progress else ():
        node = lanes.setdefault(receipt.node, {})
        for lane, seconds in receipt.seconds.items():
            node[lane] = round(node.get(lane, 0.0) + seconds, 3)
        node["rows"] = node.get("rows", 0) + sum(
            receipt.rows[name] for name in ("ok", "absent", "failed")
        )
    return lanes


def _output_counts(session: Session) -> Iterator[FeatureCount]:
    for name, planned in session.plan.nodes.items():
        for spec, path in planned.outputs:
            kind = "features" if isinstance(spec, FeatureSpec) else "tables"
            # Read anew: what the plan saw was the state before the run.
            folder = OutputFolder(path, kind)
            counts = folder.counts()
            size = sum(commit.get("bytes", 0) for commit in folder.commits.values())
            yield FeatureCount(
                spec.name, name, planned.fingerprint, **counts, bytes=size, kind=kind
            )


def latest_run(layout: StoreLayout, run: str | None = None) -> dict[str, Any]:
    """Return the record of a run, the latest one by default.

    Raises:
        StoreError: There is none.
    """
    wanted = (found for found in run_records(layout) if str(found.get("run")).startswith(run or ""))
    record = next(wanted, None)
    if record is None:
        what = f"run '{run}'" if run else "run"
        raise StoreError(f"there is no {what} in '{layout.root}'", "`pipeline run extract` first")
    return record


def reopen(
    record: Mapping[str, Any], store: Path, load_dag: Callable[[str], DagBuilder]
) -> Session:
    """Return the session of a recorded run over the store as it is now.

    Args:
        record: What `latest_run` returned.
        store: The store.
        load_dag: Gives the builder of a graph by name.
    """
    lacking = {"config", "root", "samples"} - record.keys()
    if lacking:
        raise StoreError(
            f"the record of run '{record.get('run')}' lacks {sorted(lacking)}", "run again"
        )
    values = {**record["config"], "root": record["root"]}
    config = parse(RunConfig, values, "recorded configuration")
    layout = StoreLayout(store.absolute())
    samples = SamplesTable(layout.root / "samples" / record["samples"])
    build = load_dag(config.dag)
    plan = make_plan(build(config, str(layout.root)), samples, layout)
    manifest = Manifest.model_validate(samples.info["manifest"])
    return Session(config, layout, manifest, Path(record["root"]), samples, build, plan)

"""Throughput: seconds per node, split into read, compute and write.

The numbers are those of the commit records, so that they cover every shard, in whichever run and
on whichever machine it was computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...store.reader import OutputFolder
from ..context import Context, Section
from ..figures import legend, stacked_bar
from ..html import join, note
from ..numbers import count_text, decimal_text, seconds_text, share_text
from ..tables import Rows, table

LANES = ("read", "compute", "write")


@dataclass(frozen=True)
class NodeTime:
    """Where the time of one node went, over all committed shards.

    Attributes:
        node: Its name.
        shards: Committed shards.
        rows: Rows in them.
        seconds: Seconds by lane: ``read``, ``compute``, ``write``, ``other`` and ``total``.
        adopted: Shards linked from an earlier fingerprint; their time is that of back then.
    """

    node: str
    shards: int
    rows: int
    seconds: Mapping[str, float]
    adopted: int


def section(context: Context) -> Section:
    """Return the section."""
    times = [time for time in node_times(context) if time.shards]
    if not times:
        return Section("throughput", "Throughput", note("No shard is committed."))
    longest = max(time.seconds["total"] for time in times)
    rows: Rows = [
        [
            time.node,
            time.shards,
            time.rows,
            stacked_bar(
                {name: time.seconds[name] for name in (*LANES, "other")},
                whole=longest,
                label=f"{time.node}: {_words(time)}",
            ),
            *(_lane(time, name) for name in LANES),
            seconds_text(time.seconds["total"]),
            _rate(time),
        ]
        for time in times
    ]
    heads = ("node", "shards", "rows", "", *LANES, "total", "rows/s")
    colours = {
        "read": "read: waiting for files and decoding",
        "compute": "compute: the model",
        "write": "write: Parquet",
        "other": "other: loading weights, hashing, committing",
    }
    total = sum(time.seconds["total"] for time in times)
    adopted = sum(time.adopted for time in times)
    words = f"{seconds_text(total)} in all, summed over workers, from the commit records of "
    words += f"{count_text(sum(time.shards for time in times))} shards."
    if adopted:
        words += f" {count_text(adopted)} of them were taken over from an earlier fingerprint."
    body = join([table(heads, rows, kind="times", rest="nodes"), legend(colours), note(words)])
    return Section("throughput", "Throughput", body)


def node_times(context: Context) -> list[NodeTime]:
    """Return the time of every node."""
    found = []
    for planned in context.session.plan.nodes.values():
        # Every output of a node carries the same seconds; the first stands for all.
        commits = OutputFolder(planned.outputs[0][1], planned.folders[0].room).commits.values()
        seconds = {
            name: sum(float(commit["seconds"].get(name, 0.0)) for commit in commits)
            for name in (*LANES, "total")
        }
        spent = sum(seconds[name] for name in LANES)
        seconds["other"] = max(0.0, seconds["total"] - spent)
        seconds["total"] = max(seconds["total"], spent)
        rows = sum(commit.get("computed", sum(commit["rows"].values())) for commit in commits)
        adopted = sum("adopted_from" in commit for commit in commits)
        found.append(NodeTime(planned.name, len(commits), rows, seconds, adopted))
    return found


def _words(time: NodeTime) -> str:
    return ", ".join(f"{name} {seconds_text(time.seconds[name])}" for name in (*LANES, "other"))


def _lane(time: NodeTime, name: str) -> str:
    seconds = time.seconds[name]
    return f"{seconds_text(seconds)} ({share_text(seconds, time.seconds['total'])})"


def _rate(time: NodeTime) -> str:
    total = time.seconds["total"]
    return decimal_text(time.rows / total) if total > 0 else "–"

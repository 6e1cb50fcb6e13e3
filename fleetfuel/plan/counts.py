"""Pure: what was decided, counted: for the run, and for each of its files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import polars as pl

from fleetfuel import writes
from fleetfuel.model.plan import Counts, Diff, FileCount, RuleCount
from fleetfuel.model.records import Cut
from fleetfuel.plan import decide
from fleetfuel.plan.batch import Batch


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Decisions:
    """What is decided: counted, and kept if it writes something."""

    actions: Counter[str]
    of_files: Counter[tuple[int, str]]
    """(number of the file that says so, action) → rows."""
    diff: Diff


def count_decisions(chunks: Iterable[pl.DataFrame]) -> Decisions:
    """Count the decisions, and keep those that write. `chunks` (`decide.DECISIONS`) are taken one by one."""
    actions: Counter[str] = Counter()
    of_files: Counter[tuple[int, str]] = Counter()
    inserts, others = [writes.INSERTS.to_frame()], [writes.WRITES.to_frame()]
    for decided in chunks:
        for action, file, rows in decided.group_by("action", "said_by").len().iter_rows():
            actions[action] += rows
            if file is not None:
                of_files[file, action] += rows
        for part, kept in zip(decide.part_inserts(decided), (inserts, others), strict=True):
            kept.append(part)
    diff = Diff(inserts=pl.concat(inserts), others=pl.concat(others))
    return Decisions(actions=actions, of_files=of_files, diff=diff)


def count_records(cuts: tuple[Cut, ...], known: pl.DataFrame, batch: Batch, decided: Decisions) -> Counts:
    """What the run does, in records."""
    acted = decided.actions
    return Counts(
        records=sum(len(cut.records) for cut in cuts) - len(batch.markers),
        inserts=acted["insert"],
        updates=acted["update"],
        soft_deletes=acted["soft_delete_flagged"] + acted["soft_delete_absent"],
        soft_deletes_flagged=acted["soft_delete_flagged"],
        soft_deletes_absent=acted["soft_delete_absent"],
        restores=acted["restore"],
        unchanged=known.height + acted["unchanged"] + acted["refresh"],
        stale=acted["stale"],
        superseded=batch.accepted.height - sum(decided.of_files.values()),
        rejected=batch.rejected.height,
        warned=batch.warned,
        skipped=len(batch.markers),
    )


def count_rules(batch: Batch) -> dict[str, RuleCount]:
    """Rule → its severity and how many records broke it: first the checks of `rules/`, the most broken first; then
    those that reject whatever the rules say."""
    rules = {
        code: RuleCount(severity=severity, rows=rows)
        for code, severity, rows in batch.notices.group_by("rule", "severity")
        .len()
        .sort("len", "rule", descending=[True, False])
        .iter_rows()
    }
    rejected = batch.rejected.filter(~pl.col("rule").is_in(list(rules)))
    return rules | {
        code: RuleCount(severity="reject", rows=rows)
        for code, rows in rejected.group_by("rule").len().sort("rule").iter_rows()
    }


def count_files(cuts: tuple[Cut, ...], known: pl.DataFrame, batch: Batch, decided: Decisions) -> Iterable[FileCount]:
    """What became of each file's records. A row is counted for the file of the version that decides it."""
    counts: list[Counter[str]] = [Counter(records=len(cut.records)) for cut in cuts]
    for file, _ in batch.markers:
        counts[file].update(skipped=1, records=-1)
    for (number, action), rows in decided.of_files.items():
        counts[number][FILE_COUNT_OF[action]] += rows
        counts[number]["superseded"] -= rows
    ends = known["file"].search_sorted(pl.Series(range(len(cuts) + 1)))  # they lie in the order of the files
    for number, (first, last) in enumerate(pairwise(ends)):
        counts[number]["unchanged"] += last - first
    for number, rows in batch.accepted_of.items():
        counts[number]["superseded"] += rows
    for number in batch.rejected["file"]:
        counts[number]["rejected"] += 1
    for number, cut in enumerate(cuts):
        found = {name: rows for name, rows in counts[number].items() if rows}
        is_empty = bool(found.get("skipped")) and not found.get("records")
        yield FileCount(
            key=cut.file.key,
            etag=cut.file.etag,
            at=cut.at,
            modified_at=cut.file.modified_at,
            status="empty" if is_empty else "applied",
            counts=found,
        )


FILE_COUNT_OF: Final = {
    "insert": "inserts",
    "update": "updates",
    "restore": "restores",
    "soft_delete_flagged": "soft_deletes_flagged",
    "unchanged": "unchanged",
    "refresh": "unchanged",
    "stale": "stale",
}
"""Decision → the name in `Counts`."""

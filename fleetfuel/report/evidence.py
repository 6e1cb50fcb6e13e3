"""A plan as a folder of Parquet files: the evidence, complete even if the summary is cut. It computes nothing new.

`changes.parquet` (one row an affected record), `rejects.parquet`, `notices.parquet`, `plan.json` (the `--json` object);
and what else applying the plan needs (`plan_file`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fleetfuel import __version__, writes
from fleetfuel.model.plan import Plan
from fleetfuel.records.fills import FILL, read_fills
from fleetfuel.records.places import part_texts
from fleetfuel.report import plan_file
from fleetfuel.report.folder import PLAN, SUMS, new_file, new_folder, read_report, remove_own
from fleetfuel.report.summary import Summary, as_json, as_object, read_summary
from fleetfuel.side import Pause, no_pause

__all__ = ["PLAN", "finish_report", "read_report", "write_report"]

BATCH: Final = 20_000

CHANGES: Final = pa.schema(
    [
        ("action", pa.string()),
        ("id", pa.int64()),
        ("plate", pa.string()),
        ("department", pa.string()),
        ("day", pa.date32()),
        ("changed", pa.list_(pa.string())),
        ("before", pa.string()),
        ("after", pa.string()),
        ("source_key", pa.string()),
        ("position", pa.int64()),
    ]
)
"""`plate`, `department`, `day`: of the fill, as reported; the day in East Africa. `changed`: names of fields as the
feed calls them. `before`, `after`: the record as JSON text; `after` is null if the record's text stays as it is (a
deletion)."""

REJECTS: Final = pa.schema(
    [
        ("source_key", pa.string()),
        ("position", pa.int64()),
        ("id", pa.int64()),
        ("rule", pa.string()),
        ("reason", pa.string()),
        ("content", pa.string()),
        ("content_bytes", pa.binary()),
    ]
)
"""`content`: the record's own text; `content_bytes` if it is no text."""

NOTICES: Final = pa.schema(
    [
        ("source_key", pa.string()),
        ("position", pa.int64()),
        ("id", pa.int64()),
        ("rule", pa.string()),
        ("severity", pa.string()),
        ("field", pa.string()),
        ("value", pa.string()),
        ("reason", pa.string()),
    ]
)
"""One row a record and check that it fails; and, without a place, one row for each notice on the feed as a whole."""

WORDS: Final = [
    "action",
    "plate",
    "department",
    "changed.list.element",
    "source_key",
    "rule",
    "severity",
    "field",
    "reason",
]
"""Columns that hold few texts, each many times: stored as a dictionary."""


def write_report(plan: Plan, run: Summary, folder: Path, pause: Pause = no_pause) -> Summary:
    """Write the folder; returns the summary with the report's checksum. Raises `ReportUnwritable`, also if another
    run's report is there already. `pause` is called between batches of rows."""
    keys = pa.array(plan.keys, type=pa.string())
    with new_folder(folder, plan.run_id) as partial:
        if folder.is_dir() and _run_id(folder) == plan.run_id:
            remove_own(folder)
        for name, schema, batches in (
            ("changes", CHANGES, _changes(plan, keys)),
            ("rejects", REJECTS, _rejects(plan, keys)),
            ("notices", NOTICES, _notices(plan, keys)),
            ("writes", plan_file.WRITES, plan_file.write_batches(plan, BATCH)),
        ):
            _write(partial / f"{name}.parquet", schema, plan, _with_pauses(batches, pause))
        with new_file(partial / "writes.json") as file:
            file.write(plan_file.kept_of(plan))
        hashes = plan_file.hash_files(partial)
        with new_file(partial / SUMS) as file:
            file.write(plan_file.sums_of(hashes))
        run = msgspec.structs.replace(run, checksum=plan_file.checksum_of(hashes, as_object(run)))
        _write_plan(partial, run)
    return run


def finish_report(run: Summary, folder: Path) -> None:
    """Write in a report that its run was applied."""
    _write_plan(folder, run)


def _run_id(folder: Path) -> str | None:
    with contextlib.suppress(ValueError, OSError):
        return read_summary((folder / PLAN).read_bytes()).run_id
    return None


def _write_plan(folder: Path, run: Summary) -> None:
    partial = folder / f".{PLAN}.partial"
    with new_file(partial) as file:
        file.write(msgspec.json.format(as_json(run), indent=2).encode() + b"\n")
    partial.replace(folder / PLAN)


def _with_pauses(batches: Iterator[pa.RecordBatch], pause: Pause) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        pause()
        yield batch


def _write(path: Path, schema: pa.Schema, plan: Plan, batches: Iterator[pa.RecordBatch]) -> None:
    about = {"run_id": plan.run_id, "source": plan.source, "version": __version__}
    with (
        new_file(path) as file,
        pq.ParquetWriter(file, schema.with_metadata(about), compression="zstd", use_dictionary=WORDS) as writer,
    ):
        for batch in batches:
            writer.write_batch(batch.replace_schema_metadata(about))


def _changes(plan: Plan, keys: pa.Array) -> Iterator[pa.RecordBatch]:
    for batch in writes.batches(plan.diff, BATCH):
        rows = batch.filter(~pl.col("action").is_in(writes.QUIET))
        before = rows["before"].to_arrow().cast(pa.string())
        after = plan.texts.take(rows["file"], rows["position"]).cast(pa.string())
        fills = read_fills(pl.Series(pc.coalesce(after, before), dtype=pl.String), plan.fill_names)
        yield pa.RecordBatch.from_arrays(
            [
                rows["action"].to_arrow().cast(pa.string()),
                rows["id"].to_arrow(),
                *(fills[name].to_arrow().cast(CHANGES.field(name).type) for name in FILL),
                rows["changed"].to_arrow().cast(pa.list_(pa.string())),
                before,
                after,
                *_place(rows, keys),
            ],
            schema=CHANGES,
        )


def _rejects(plan: Plan, keys: pa.Array) -> Iterator[pa.RecordBatch]:
    for rows in plan.rejected.iter_slices(BATCH):
        contents = [plan.texts.whole(file, position) for file, position in rows.select("file", "position").iter_rows()]
        texts, raw = part_texts(contents)
        yield pa.RecordBatch.from_arrays(
            [
                *_place(rows, keys),
                rows["id"].to_arrow(),
                *(rows[name].to_arrow().cast(pa.string()) for name in ("rule", "reason")),
                pa.array(texts, type=pa.string()),
                pa.array(raw, type=pa.binary()),
            ],
            schema=REJECTS,
        )


def _notices(plan: Plan, keys: pa.Array) -> Iterator[pa.RecordBatch]:
    for rows in plan.notices.iter_slices(BATCH):
        yield pa.RecordBatch.from_arrays(
            [
                *_place(rows, keys),
                rows["id"].to_arrow(),
                *(rows[name].to_arrow().cast(pa.string()) for name in ("rule", "severity", "field", "value", "reason")),
            ],
            schema=NOTICES,
        )


def _place(rows: pl.DataFrame, keys: pa.Array) -> tuple[pa.Array, pa.Array]:
    return keys.take(rows["file"].to_arrow()), rows["position"].cast(pl.Int64).to_arrow()

"""A plan as a folder of Parquet: the evidence, complete where the summary is capped. It computes nothing new.

`changes.parquet` (one row an affected record), `rejects.parquet`, `notices.parquet`, `plan.json` (the `--json` object).
The folder appears whole or not at all: it is written under another name beside its place, then renamed.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from fleetfuel import __version__, errors
from fleetfuel.model import Plan
from fleetfuel.plan import decide
from fleetfuel.records import care, frame

BATCH: Final = 20_000

CHANGES: Final = pa.schema(
    [
        ("action", pa.string()),
        ("id", pa.int64()),
        ("changed", pa.list_(pa.string())),
        ("before", pa.string()),
        ("after", pa.string()),
        ("source_key", pa.string()),
        ("position", pa.int64()),
    ]
)
"""`changed`: names of fields as the feed calls them. `before`, `after`: the record as JSON text; `after` is null where
the record's text stays as it is (a deletion)."""

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
"""`content`: the record's own text; `content_bytes` where it is no text."""

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
"""One row a record and check it fails; and, without a place, one row a thing noticed of the feed as a whole."""

WORDS: Final = ["action", "changed.list.element", "source_key", "rule", "severity", "field", "reason"]
"""Columns that hold few texts, each many times: stored as a dictionary."""

PLAN: Final = "plan.json"


def write_report(plan: Plan, run: Mapping[str, Any], folder: Path) -> None:
    """Write the folder. Raises `ReportUnwritable`, also where another run's report is there already."""
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        if folder.exists():
            _make_way(folder, plan.run_id)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        keys = pa.array([cut.file.key for cut in plan.cuts], type=pa.string())
        _write(partial / "changes.parquet", CHANGES, plan, _changes(plan, keys))
        _write(partial / "rejects.parquet", REJECTS, plan, _rejects(plan, keys))
        _write(partial / "notices.parquet", NOTICES, plan, _notices(plan, keys))
        _write_plan(partial, run)
        partial.rename(folder)
    except OSError as error:
        raise errors.ReportUnwritable(path=folder, reason=error.strerror or str(error)) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)  # there is none after a success


def finish_report(run: Mapping[str, Any], folder: Path) -> None:
    """Say in a written report that its run was applied."""
    _write_plan(folder, run)


def read_report(folder: Path) -> dict[str, Any]:
    """The object of a saved report. Raises `SourceNotFound` or `BadInput`."""
    path = folder if folder.is_file() else folder / PLAN
    if not path.is_file():
        hint = "Give the folder of a report: the one that holds plan.json; `ls reports/` shows them."
        raise errors.SourceNotFound(what="The report", where=folder, next_step=hint)
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(run, dict) or "run_id" not in run or "counts" not in run:
            raise ValueError("it is no fleetfuel report")
    except ValueError as error:
        raise errors.BadInput(key=path, reason=f"the report cannot be read ({error})") from None
    return run


def _make_way(folder: Path, run_id: str) -> None:
    """Remove what may be replaced: an empty folder, or what this same run wrote before it had to plan again."""
    if not any(folder.iterdir()):
        folder.rmdir()
    elif (folder / PLAN).is_file() and json.loads((folder / PLAN).read_text(encoding="utf-8")).get("run_id") == run_id:
        shutil.rmtree(folder)
    else:
        raise errors.ReportUnwritable(path=folder, reason="something is there already, and evidence is not overwritten")


def _write_plan(folder: Path, run: Mapping[str, Any]) -> None:
    partial = folder / f".{PLAN}.partial"
    with partial.open("w", encoding="utf-8") as file:
        json.dump(run, file, indent=2, ensure_ascii=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    partial.replace(folder / PLAN)


def _write(path: Path, schema: pa.Schema, plan: Plan, batches: Iterator[pa.RecordBatch]) -> None:
    about = {"run_id": plan.run_id, "source": plan.source, "version": __version__}
    with path.open("wb") as file:
        with pq.ParquetWriter(file, schema.with_metadata(about), compression="zstd", use_dictionary=WORDS) as writer:
            for batch in batches:
                writer.write_batch(batch.replace_schema_metadata(about))
        file.flush()
        os.fsync(file.fileno())


def _changes(plan: Plan, keys: pa.Array) -> Iterator[pa.RecordBatch]:
    for batch in decide.batches(plan.diff, BATCH):
        rows = batch.filter(~pl.col("action").is_in(decide.QUIET))
        after = frame.record_texts(plan.cuts, plan.unwrapped, rows["file"], rows["position"])
        yield pa.RecordBatch.from_arrays(
            [
                rows["action"].to_arrow().cast(pa.string()),
                rows["id"].to_arrow(),
                rows["changed"].to_arrow().cast(pa.list_(pa.string())),
                rows["before"].to_arrow().cast(pa.string()),
                after.cast(pa.string()),
                *_place(rows, keys),
            ],
            schema=CHANGES,
        )


def _rejects(plan: Plan, keys: pa.Array) -> Iterator[pa.RecordBatch]:
    for rows in plan.rejected.iter_slices(BATCH):
        contents = [plan.cuts[file].records[position] for file, position in rows.select("file", "position").iter_rows()]
        texts = [care.storable_text(content) for content in contents]
        raw = [None if text is not None else content for text, content in zip(texts, contents, strict=True)]
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

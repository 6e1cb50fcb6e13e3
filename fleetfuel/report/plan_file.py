"""A report that can be applied: what a plan holds beyond its evidence, written next to it and read back whole.

`writes.parquet` has a line for each row that the plan writes, in the same order, without texts: those lie in
`changes.parquet`, at the line that `text` names. `writes.json` has the rest of the plan. The checksum is over all other
files of the report and over what `plan.json` says of the plan, so a damaged or edited report is noticed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from fleetfuel import errors, writes
from fleetfuel.model.plan import Diff, FileCount, Origin, Plan, Undo
from fleetfuel.readable import demand_regular
from fleetfuel.records.fills import FillNames
from fleetfuel.records.judge import NOTICES
from fleetfuel.records.rows import REJECTED
from fleetfuel.records.texts import as_bytes, as_numbers
from fleetfuel.records.values import EAST_AFRICA
from fleetfuel.report.folder import CHECKED, PLAN, SUMS, LaterFormat, read_report
from fleetfuel.report.summary import Summary, status_of

WRITES: Final = pa.schema(
    [
        ("action", pa.string()),
        ("id", pa.int64()),
        ("file", pa.uint32()),
        ("text", pa.uint32()),
        ("fingerprint", pa.binary(16)),
        ("source_at", pa.timestamp("us", tz="UTC")),
        ("change_at", pa.timestamp("us", tz="UTC")),
        ("deleted_at", pa.timestamp("us", tz="UTC")),
        ("absent_since", pa.timestamp("us", tz="UTC")),
        ("seen", pa.int64()),
    ]
)
"""`text`: the line of changes.parquet whose `after` is the row's new text; null if the text stays. `seen`: a hash of
the row as the plan saw it."""

NO_NAMES: Final = FillNames(plate=(), department=(), day=(), zone=EAST_AFRICA)
"""A saved plan has its evidence already, so no fill is named again."""


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of a plan that are neither rows nor in the summary."""

    origins: list[Origin]
    keys: list[str | None]
    files: list[FileCount]
    resolved_rejects: list[int]
    rule_files: dict[str, str]
    undo: Undo | None = None


def kept_of(plan: Plan) -> bytes:
    """The text of `writes.json`."""
    kept = Kept(
        origins=list(plan.origins),
        keys=list(plan.keys),
        files=list(plan.files),
        resolved_rejects=list(plan.resolved_rejects),
        rule_files=dict(plan.rule_files),
        undo=plan.undo,
    )
    return msgspec.json.encode(kept)


def write_batches(plan: Plan, height: int) -> Iterator[pa.RecordBatch]:
    """The lines of `writes.parquet`."""
    line = 0
    for rows in writes.batches(plan.diff, height):
        is_shown = ~rows["action"].is_in(writes.QUIET)
        places = pl.select(pl.when(is_shown & rows["position"].is_not_null()).then(is_shown.cum_sum() - 1 + line))
        line += int(is_shown.sum())
        yield pa.RecordBatch.from_arrays(
            [
                rows["action"].to_arrow().cast(pa.string()),
                rows["id"].to_arrow(),
                rows["file"].to_arrow(),
                places.to_series().cast(pl.UInt32).to_arrow(),
                pa.array(as_bytes(rows["fingerprint"]), type=pa.binary(16)),
                *(rows[name].to_arrow() for name in ("source_at", "change_at", "deleted_at", "absent_since", "seen")),
            ],
            schema=WRITES,
        )


VOLATILE: Final = frozenset(
    {"applied", "to_apply", "report", "seconds", "refreshed", "checksum", "applied_by", "applied_role"}
)
"""The keys of `plan.json` that change when the plan is applied or its folder is moved."""


def hash_files(folder: Path) -> dict[str, str]:
    """Name → hex SHA-256 of the files of a report that are `CHECKED`. Raises `OSError`."""
    hashes = {}
    for name in CHECKED:
        demand_regular(folder / name)
        with (folder / name).open("rb") as file:
            hashes[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return hashes


def checksum_of(hashes: Mapping[str, str], said: Mapping[str, Any]) -> str:
    """Hex SHA-256 over the files of a report (`hash_files`) and over `said`, the object of its plan.json, without
    `VOLATILE`."""
    planned = {name: value for name, value in said.items() if name not in VOLATILE}
    planned["files"] = [file | {"status": status_of(file["status"], applied=True)} for file in said["files"]]
    digest = hashlib.sha256(msgspec.json.encode(planned, order="sorted"))
    for name in CHECKED:
        digest.update(bytes.fromhex(hashes[name]))
    return digest.hexdigest()


def sums_of(hashes: Mapping[str, str]) -> bytes:
    """The text of `SHA256SUMS`: `sha256sum --check` reads it. It says which file was altered."""
    return "".join(f"{value}  {name}\n" for name, value in hashes.items()).encode()


def _altered(folder: Path, hashes: Mapping[str, str]) -> Path:
    """The file that is not as it was written, if `SHA256SUMS` is; else plan.json."""
    try:
        lines = (folder / SUMS).read_text("utf-8").splitlines()
    except (OSError, ValueError):
        return folder / SUMS
    return folder / next((name for name in CHECKED if f"{hashes[name]}  {name}" not in lines), PLAN)


def read_plan(folder: Path, run_id: str, started_at: datetime) -> tuple[Plan, Summary]:
    """The plan that a report holds, to be applied by `run_id`; and the report's summary.

    Raises `SourceNotFound`, `PlanNoLongerFits` for a report of a later release, and `BadInput` with the file's name if
    the folder is damaged or was edited.
    """
    try:
        summary = read_report(folder)
    except LaterFormat as error:
        raise errors.PlanNoLongerFits(plan=folder.name, reason=str(error.facts["reason"]).rstrip(".")) from None
    home = folder.parent if folder.is_file() else folder
    if summary.checksum is None:
        raise errors.DamagedReport(key=home, reason="the report was written by a release that kept no plan")
    try:
        hashes = hash_files(home)
        whole = checksum_of(hashes, msgspec.json.decode((home / PLAN).read_bytes()))
    except OSError as error:
        name = Path(error.filename or home).name
        raise errors.DamagedReport(key=home / name, reason=error.strerror or str(error)) from None
    if whole != summary.checksum:
        raise errors.DamagedReport(key=_altered(home, hashes), reason="the file was damaged or edited")
    kept = _read_kept(home / "writes.json")
    diff = _read_diff(home / "writes.parquet")
    rejected, contents = _read_rejects(home / "rejects.parquet", kept.keys)
    texts = SavedTexts(home / "changes.parquet", contents)
    return (
        Plan(
            run_id=run_id,
            mode=summary.mode,
            reading=summary.read_as,
            source=summary.source,
            started_at=started_at,
            origins=tuple(kept.origins),
            texts=texts,
            diff=diff,
            rejected=rejected,
            notices=NOTICES.to_frame(),
            counts=summary.counts,
            columns=summary.columns,
            samples=summary.samples,
            row_samples=summary.row_samples,
            fill_names=NO_NAMES,
            rules=summary.rules,
            resolved_rejects=kept.resolved_rejects,
            files=tuple(kept.files),
            guards=tuple(summary.guards),
            live_before=summary.live_before,
            watermark_before=summary.watermark_before,
            rules_digest=summary.rules_digest,
            remarks=tuple(summary.remarks),
            mark_before=summary.mark_before,
            keys=tuple(kept.keys),
            rule_files=kept.rule_files,
            planned_by=summary.run_id,
            checksum=summary.checksum,
            undo=kept.undo,
            as_of=summary.as_of,
        ),
        summary,
    )


def _read_kept(path: Path) -> Kept:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Kept)
    except (ValueError, OSError) as error:
        raise errors.DamagedReport(key=path, reason=f"the file is damaged ({error})") from None


def _read_table(path: Path, columns: list[str]) -> pa.Table:
    try:
        return pq.read_table(path, columns=columns)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise errors.DamagedReport(
            key=path, reason=f"the file is damaged ({str(error).splitlines()[0][:200]})"
        ) from None


def _read_diff(path: Path) -> Diff:
    table = _read_table(path, WRITES.names)
    if table.num_rows == 0:
        return Diff(inserts=writes.INSERTS.to_frame(), others=writes.WRITES.to_frame())
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    rows = frame.with_columns(as_numbers(frame["fingerprint"]).alias("fingerprint")).rename({"text": "position"})
    is_new = (pl.col("action") == "insert") & pl.all_horizontal(pl.col("deleted_at", "absent_since").is_null())
    others = pl.concat([writes.WRITES.to_frame(), rows.filter(~is_new)], how="diagonal_relaxed")
    inserts = rows.filter(is_new).select(writes.INSERTS.names())
    return Diff(
        inserts=inserts.cast(dict(writes.INSERTS.items())),
        others=others.select(writes.WRITES.names()).cast(dict(writes.WRITES.items())),
    )


def _read_rejects(path: Path, keys: list[str | None]) -> tuple[pl.DataFrame, dict[tuple[int, int], bytes]]:
    table = _read_table(path, ["source_key", "position", "id", "rule", "reason", "content", "content_bytes"])
    numbers = {key: number for number, key in enumerate(keys)}
    rows: list[tuple[Any, ...]] = []
    contents: dict[tuple[int, int], bytes] = {}
    for row in table.to_pylist():
        place = numbers[row["source_key"]], row["position"]
        contents[place] = row["content"].encode() if row["content"] is not None else row["content_bytes"]
        rows.append((*place, row["id"], row["rule"], row["reason"]))
    return pl.DataFrame(rows, schema=REJECTED, orient="row"), contents


class SavedTexts:
    """The texts of a saved plan, read from `changes.parquet` a group of lines at a time."""

    def __init__(self, path: Path, contents: dict[tuple[int, int], bytes]) -> None:
        """`contents`: of rejected records, by place. Raises `BadInput` if the file is damaged."""
        try:
            self._file = pq.ParquetFile(path)
        except (pa.ArrowException, OSError) as error:
            raise errors.DamagedReport(key=path, reason=f"the file is damaged ({str(error)[:200]})") from None
        self._contents = contents
        heights = [self._file.metadata.row_group(number).num_rows for number in range(self._file.num_row_groups)]
        self._firsts = pl.Series([0, *heights], dtype=pl.Int64).cum_sum()
        self._group = -1
        self._texts = pa.array([], type=pa.large_binary())

    def whole(self, file: int, position: int) -> bytes:
        return self._contents[file, position]

    def take(self, _files: pl.Series, positions: pl.Series) -> pa.Array:
        lines = positions.cast(pl.Int64)
        groups = self._firsts.search_sorted(lines.drop_nulls(), "right") - 1
        parts: list[pl.DataFrame] = []
        for group in groups.unique().sort().to_list():
            first = self._firsts[group]
            found = pl.DataFrame({"text": pl.Series(self._read(group), dtype=pl.Binary)}).with_row_index("line", first)
            parts.append(found.with_columns(pl.col("line").cast(pl.Int64)))
        if not parts:
            return pa.nulls(len(positions), pa.large_binary())
        wanted = lines.alias("line").to_frame()
        joined = wanted.join(pl.concat(parts), on="line", how="left", maintain_order="left")
        return joined["text"].to_arrow().cast(pa.large_binary())

    def _read(self, group: int) -> pa.Array:
        if group != self._group:
            column = self._file.read_row_group(group, columns=["after"])["after"].combine_chunks()
            self._group, self._texts = group, column.cast(pa.binary()).cast(pa.large_binary())
        return self._texts

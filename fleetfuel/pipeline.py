"""The order of a run, written once: read, cut, match, judge, compare, limit → a plan; and applying it."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

import polars as pl

from fleetfuel import diff, envelope, errors, frame, load, notices, state, validate
from fleetfuel.database import Database
from fleetfuel.limits import Overrides, Totals, check_limits
from fleetfuel.model import Counts, Cut, Delivery, Diff, FileCount, Plan, Receipt, Rows, RuleCount, State
from fleetfuel.progress import Progress, silence
from fleetfuel.rules import Rules

READERS: Final = 2
"""Chunks read at a time: Polars lets other threads run meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a run is, before it has read anything."""

    run_id: str
    mode: Literal["snapshot", "changes", "file"]
    started_at: datetime
    zone: ZoneInfo
    rules: Rules
    overrides: Overrides
    skip_bad_files: bool = False
    progress: Progress = silence
    """Told how far the stages are."""

    @property
    def seed(self) -> int:
        """Seeds fingerprints with the rules: under other rules no record counts as already validated."""
        return int(self.rules.digest[:15], 16)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Judged:
    """The records that had to be read: what may load, what is set aside, and what was noticed."""

    accepted: pl.DataFrame
    rejected: pl.DataFrame
    notices: pl.DataFrame
    unwrapped: dict[tuple[int, int], bytes]
    unknown_fields: Counter[str]
    samples: dict[str, str]
    spellings: Counter[tuple[str, str]]
    given: Counter[str]
    markers: list[tuple[int, int]]
    legible_ids: list[int]


def plan_run(delivery: Delivery, database: Database, run: Run) -> Plan:
    """Decide what has to be written so that the table equals the delivery. Reads the database, writes nothing.

    Raises `BadInput` for a file that cannot be cut into records.
    """
    cuts, bad = _cut(delivery, run)
    index = pl.concat([frame.index_records(cut, number) for number, cut in enumerate(cuts)] or [_no_records()])
    current = state.read_state(database)
    times = [cut.file_at for cut in cuts] if delivery.reading == "changes" else None
    known, unknown = diff.match_rows(index, current, times)
    judged = _judge(unknown, cuts, run)
    known, repeated = diff.split_repeated(known, judged.accepted["id"])
    if repeated.height:
        judged = _together(judged, _judge(repeated.select(frame.INDEX.names()), cuts, run))
    winners = diff.last_words(judged.accepted)
    decisions = [*_compare(winners, judged, cuts, current, database)]
    if delivery.reading == "snapshot" and cuts:
        legible = pl.Series(judged.legible_ids, dtype=pl.Int64)
        present = pl.concat([known["id"], judged.accepted["id"], judged.rejected["id"].drop_nulls(), legible])
        decisions += _absent(present, _unkeyed(judged, cuts), cuts[-1], current, database)
    decided = pl.concat([diff.DECISIONS.to_frame(), *decisions])
    return _plan(run, delivery, cuts, bad, known, winners, judged, decided, current, database)


def apply_plan(plan: Plan, run: Mapping[str, Any], database: Database, progress: Progress = silence) -> Receipt:
    """Write the plan in the open transaction, prove that it did just that, and commit. `run`: its `--json` object."""
    return load.load_plan(plan, run, database, progress)


# --- the stages' loops: chunk by chunk, so that memory does not grow with the file ---------------------------------


def _judge(index: pl.DataFrame, cuts: tuple[Cut, ...], run: Run) -> _Judged:
    judged = _nothing_judged()
    done = 0
    for height, rows in _read(index, cuts, run):
        run.progress("read", done, index.height)
        done += height
        verdict = validate.validate_rows(rows.typed, run.rules)
        judged = _together(
            judged,
            _Judged(
                accepted=verdict.accepted.select(diff.CANDIDATES.names()),
                rejected=pl.concat([rows.refused, verdict.rejected]),
                notices=verdict.notices,
                unwrapped=dict(rows.unwrapped),
                unknown_fields=Counter({name: count for name, (count, _) in rows.unknown_fields.items()}),
                samples={name: sample for name, (_, sample) in rows.unknown_fields.items()},
                spellings=_spellings(verdict.accepted),
                given=Counter({name: verdict.accepted[name].count() for name in COLUMNS}),
                markers=list(rows.markers),
                legible_ids=list(rows.legible_ids),
            ),
        )
    run.progress("read", done, index.height)
    return judged


def _read(index: pl.DataFrame, cuts: tuple[Cut, ...], run: Run) -> Iterator[tuple[int, Rows]]:
    """Each chunk's height and rows, in order; a few chunks are read at a time."""

    def read(chunk: pl.DataFrame) -> tuple[int, Rows]:
        return chunk.height, frame.read_rows(chunk, cuts, run.rules, run.zone, run.seed)

    if index.height <= frame.CHUNK:
        yield from map(read, index.iter_slices(frame.CHUNK))
        return
    pool = ThreadPoolExecutor(READERS, "fleetfuel-read")
    try:
        chunks = index.iter_slices(frame.CHUNK)
        ahead = deque(pool.submit(read, chunk) for chunk in islice(chunks, READERS))
        while ahead:
            found = ahead.popleft().result()
            ahead.extend(pool.submit(read, chunk) for chunk in islice(chunks, 1))
            yield found
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _compare(
    winners: pl.DataFrame, judged: _Judged, cuts: tuple[Cut, ...], current: State, database: Database
) -> Iterable[pl.DataFrame]:
    is_met = winners.select(is_met=pl.col("id").is_in(current.rows["id"].implode())).to_series()
    for chunk in winners.with_columns(is_met).iter_slices(frame.CHUNK):
        met = chunk.filter("is_met")["id"]
        details = state.read_details(database, met) if met.len() else state.DETAILS.to_frame()
        position = chunk.select(pl.when("is_met").then("value_position")).to_series()
        texts = frame.record_texts(cuts, judged.unwrapped, chunk["value_file"], position)
        yield diff.compare_rows(chunk, details, texts.to_pylist(), current.vouched_at)


def _absent(
    present: pl.Series, unkeyed: Sequence[bytes], cut: Cut, current: State, database: Database
) -> Iterable[pl.DataFrame]:
    for chunk in diff.find_absent(current, present).to_frame().iter_slices(frame.CHUNK):
        details = diff.without_unkeyed(state.read_details(database, chunk["id"]), unkeyed)
        yield diff.mark_absent(details, cut.file_at, current.vouched_at)


def _unkeyed(judged: _Judged, cuts: tuple[Cut, ...]) -> Sequence[bytes]:
    """Texts of the records that hold no usable id: which rows they are, only their other values can tell."""
    refused = judged.rejected.filter(pl.col("id").is_null())
    return [
        frame.record_text(cuts, judged.unwrapped, file, position)
        for file, position in refused.select("file", "position").iter_rows()
    ]


def _plan(
    run: Run,
    delivery: Delivery,
    cuts: tuple[Cut, ...],
    bad: tuple[FileCount, ...],
    known: pl.DataFrame,
    winners: pl.DataFrame,
    judged: _Judged,
    decided: pl.DataFrame,
    current: State,
    database: Database,
) -> Plan:
    acted = Counter(dict(decided["action"].value_counts().iter_rows()))
    writes = decided.select(diff.WRITES.names())
    if acted["unchanged"] or acted["stale"]:  # else a first load would hold its million rows twice
        writes = writes.filter(~pl.col("action").is_in(["unchanged", "stale"]))
    counts = Counts(
        records=sum(len(cut.records) for cut in cuts) - len(judged.markers),
        inserts=acted["insert"],
        updates=acted["update"],
        soft_deletes=acted["soft_delete_flagged"] + acted["soft_delete_absent"],
        soft_deletes_flagged=acted["soft_delete_flagged"],
        soft_deletes_absent=acted["soft_delete_absent"],
        restores=acted["restore"],
        unchanged=known.height + acted["unchanged"] + acted["refresh"],
        stale=acted["stale"],
        superseded=judged.accepted.height - winners.height,
        rejected=judged.rejected.height,
        warned=int(judged.accepted["warned"].sum()),
        skipped=len(judged.markers),
    )
    live = int(current.rows["is_live"].sum())
    rules = {
        code: RuleCount(severity=severity, rows=rows)
        for code, severity, rows in judged.notices.group_by("rule", "severity")
        .len()
        .sort("len", "rule", descending=[True, False])
        .iter_rows()
    }
    refused = judged.rejected.filter(~pl.col("rule").is_in(list(rules)))
    rules |= {
        code: RuleCount(severity="reject", rows=rows)
        for code, rows in refused.group_by("rule").len().sort("rule").iter_rows()
    }
    totals = Totals(
        reading=delivery.reading,
        cuts=cuts,
        counts=counts,
        live_before=live,
        vouched_at=current.vouched_at,
        stops=tuple((code, found.rows) for code, found in rules.items() if found.severity == "stop"),
        lost_columns=_lost_columns(judged, run, database),
    )
    samples, flips = diff.sample_changes(
        writes, lambda file, position: frame.record_text(cuts, judged.unwrapped, file, position), run.rules
    )
    noticed = notices.feed_notices(
        [
            *notices.unknown_fields(judged.unknown_fields, judged.samples),
            *notices.unknown_spellings(judged.spellings, _unknown_spellings(judged, database), run.rules),
            *notices.type_flips(flips),
            *notices.id_jump(writes.filter(action="insert")["id"], _greatest(current)),
        ]
    )
    return Plan(
        run_id=run.run_id,
        mode=run.mode,
        reading=delivery.reading,
        source=delivery.source,
        started_at=run.started_at,
        cuts=cuts,
        unwrapped=judged.unwrapped,
        diff=Diff(writes=writes),
        rejected=judged.rejected,
        notices=pl.concat([judged.notices, noticed]),
        counts=counts,
        columns=diff.changed_columns(writes, run.rules),
        samples=samples,
        rules=rules,
        resolved_rejects=_resolved(current, known, judged),
        files=tuple(
            sorted([*_file_counts(cuts, known, winners, judged, decided), *bad], key=lambda each: (each.at, each.key))
        ),
        guards=check_limits(totals, run.rules, run.overrides),
        live_before=live,
        watermark_before=current.watermark,
        rules_digest=run.rules.digest,
        remarks=(*delivery.notices, *_remarks(delivery, cuts), *noticed["reason"]),
    )


def _remarks(delivery: Delivery, cuts: tuple[Cut, ...]) -> Iterable[str]:
    for cut in cuts:
        yield from cut.remarks
        if delivery.reading == "changes" and cut.declared not in (None, len(cut.records)):
            yield f"{cut.file.key} announces {cut.declared:,} records and holds {len(cut.records):,}"


def _cut(delivery: Delivery, run: Run) -> tuple[tuple[Cut, ...], tuple[FileCount, ...]]:
    """The files cut into records, and those that cannot be: unless they are to be skipped, none from the first on."""
    cuts: list[Cut] = []
    bad = [
        FileCount(
            key=each.key,
            etag=each.etag,
            at=each.at,
            status="bad",
            counts={},
            reason=each.reason,
            is_lasting=each.is_lasting,
        )
        for each in delivery.unreadable
    ]
    for file in delivery.files:
        try:
            latest = max(run.started_at, file.modified_at) + timedelta(hours=run.rules.guards.future_source_time_hours)
            cuts.append(envelope.cut_file(file, run.zone, latest, run.seed))
        except errors.BadInput as error:
            if run.mode != "changes":
                raise
            at = file.key_at or file.modified_at
            bad.append(FileCount(key=file.key, etag=file.etag, at=at, status="bad", counts={}, reason=error.why))
    if run.skip_bad_files:
        return tuple(cuts), tuple(replace(each, status="quarantined") for each in bad)
    first = min(bad, key=lambda each: (each.at, each.key), default=None)
    if first is None:
        return tuple(cuts), ()
    return tuple(cut for cut in cuts if (cut.at, cut.file.key) < (first.at, first.key)), (first,)


def _file_counts(
    cuts: tuple[Cut, ...], known: pl.DataFrame, winners: pl.DataFrame, judged: _Judged, decided: pl.DataFrame
) -> Iterable[FileCount]:
    """What became of each file's records. A row is counted where the version that decides it lies."""
    counts: list[Counter[str]] = [Counter(records=len(cut.records)) for cut in cuts]
    for file, _ in judged.markers:
        counts[file].update(skipped=1, records=-1)
    acts = winners.select("id", winner="file").join(decided.select("id", "action"), on="id", how="inner")
    for file, action, rows in acts.group_by("winner", "action").len().iter_rows():
        counts[file][FILE_COUNT_OF[action]] += rows
    for frame_, name in ((known, "unchanged"), (judged.rejected, "rejected"), (judged.accepted, "superseded")):
        for file, rows in frame_.group_by("file").len().iter_rows():
            counts[file][name] += rows
    for file, rows in winners.group_by("file").len().iter_rows():
        counts[file]["superseded"] -= rows
    for number, cut in enumerate(cuts):
        found = {name: rows for name, rows in counts[number].items() if rows}
        is_empty = bool(found.get("skipped")) and not found.get("records")
        yield FileCount(
            key=cut.file.key, etag=cut.file.etag, at=cut.at, status="empty" if is_empty else "applied", counts=found
        )


FILE_COUNT_OF = {
    "insert": "inserts",
    "update": "updates",
    "restore": "restores",
    "soft_delete_flagged": "soft_deletes_flagged",
    "unchanged": "unchanged",
    "refresh": "unchanged",
    "stale": "stale",
}
"""Decision → the name in `Counts`."""


def _resolved(current: State, known: pl.DataFrame, judged: _Judged) -> tuple[int, ...]:
    """Open rejects whose record is accepted now, or holds again what the table holds."""
    if current.open_rejects.is_empty():
        return ()
    sound = pl.concat([known.select("id"), judged.accepted.select("id")])
    return tuple(current.open_rejects.join(sound, on="id", how="semi")["reject_id"])


COLUMNS = ("car", "driver", "department", "fuel_type", "litres", "amount_kes", "odometer_km", "filled_at")
"""Columns that a feed can lose."""


def _spellings(accepted: pl.DataFrame) -> Counter[tuple[str, str]]:
    return Counter(
        {
            (field, spelling): rows
            for field in ("fuel_type", "department")
            for spelling, rows in accepted[field].drop_nulls().value_counts().iter_rows()
        }
    )


def _unknown_spellings(judged: _Judged, database: Database) -> list[tuple[str, str]]:
    if not judged.spellings:
        return []
    spellings: dict[str, list[str]] = {"fuel_type": [], "department": []}
    for field, spelling in judged.spellings:
        spellings[field].append(spelling)
    return state.read_unknown_spellings(database, spellings)


def _lost_columns(judged: _Judged, run: Run, database: Database) -> tuple[tuple[str, float], ...]:
    """Columns that no record read now has, and nearly every stored row: asked only where one seems to be gone."""
    limit = run.rules.guards.lost_column
    if judged.accepted.height < limit.exempt_under_rows or all(judged.given[name] for name in COLUMNS):
        return ()
    shares = state.read_column_shares(database)
    return tuple((name, share) for name, share in shares.items() if share >= limit.share and not judged.given[name])


def _greatest(current: State) -> int | None:
    greatest = current.rows["id"].max()
    return greatest if isinstance(greatest, int) else None


def _no_records() -> pl.DataFrame:
    return frame.INDEX.to_frame()


def _nothing_judged() -> _Judged:
    return _Judged(
        accepted=diff.CANDIDATES.to_frame(),
        rejected=frame.REFUSED.to_frame(),
        notices=validate.NOTICES.to_frame(),
        unwrapped={},
        unknown_fields=Counter(),
        samples={},
        spellings=Counter(),
        given=Counter(),
        markers=[],
        legible_ids=[],
    )


def _together(one: _Judged, other: _Judged) -> _Judged:
    return _Judged(
        accepted=pl.concat([one.accepted, other.accepted]),
        rejected=pl.concat([one.rejected, other.rejected]),
        notices=pl.concat([one.notices, other.notices]),
        unwrapped={**one.unwrapped, **other.unwrapped},
        unknown_fields=one.unknown_fields + other.unknown_fields,
        samples={**other.samples, **one.samples},
        spellings=one.spellings + other.spellings,
        given=one.given + other.given,
        markers=one.markers + other.markers,
        legible_ids=one.legible_ids + other.legible_ids,
    )

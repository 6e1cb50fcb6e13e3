"""The order of a run, written once: read, cut, match, judge, compare, limit → a plan; and applying it."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import chain, islice, pairwise
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

import polars as pl

from fleetfuel import errors
from fleetfuel.model import (
    Counts,
    Cut,
    Delivery,
    Diff,
    FileCount,
    Place,
    Plan,
    Receipt,
    Rows,
    RuleCount,
    State,
    Unwrapped,
    Verdict,
)
from fleetfuel.plan import decide, notices
from fleetfuel.plan.limits import Overrides, Totals, check_limits
from fleetfuel.progress import Progress, silence
from fleetfuel.records import envelope, frame, judge
from fleetfuel.rules.book import Rules
from fleetfuel.table import load, state
from fleetfuel.table.database import Database

READERS: Final = 2
"""Chunks read at a time: Polars lets other threads run meanwhile."""

JUDGED: Final = 50
"""Chunks whose odd rows are judged together, or fewer where these fill a chunk: what Pandera costs, it costs once."""

LONG: Final = 1 << 23
"""Bytes of files from which on it pays to cut them in a thread of their own."""


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
    accepted_of: Counter[int]
    """Number of a file → how many of its records are accepted."""
    warned: int
    rejected: pl.DataFrame
    notices: pl.DataFrame
    unwrapped: dict[Place, Unwrapped]
    unknown_fields: Counter[str]
    samples: dict[str, str]
    spellings: Counter[tuple[str, str]]
    given: Counter[str]
    markers: list[Place]
    legible_ids: list[int]


class _Decided:
    """What is decided: counted, and kept where it writes something."""

    def __init__(self, chunks: Iterable[pl.DataFrame]) -> None:
        """`chunks`: of `diff.DECISIONS`, taken one by one."""
        self.actions: Counter[str] = Counter()
        self.of_files: Counter[tuple[int, str]] = Counter()
        """(number of the file that says so, action) → rows."""
        inserts, others = [decide.INSERTS.to_frame()], [decide.WRITES.to_frame()]
        for decided in chunks:
            for action, file, rows in decided.group_by("action", "said_by").len().iter_rows():
                self.actions[action] += rows
                if file is not None:
                    self.of_files[file, action] += rows
            for part, kept in zip(decide.part_inserts(decided), (inserts, others), strict=True):
                kept.append(part)
        self.diff = Diff(inserts=pl.concat(inserts), others=pl.concat(others))


def plan_run(delivery: Delivery, database: Database, run: Run) -> Plan:
    """Decide what has to be written so that the table equals the delivery. Reads the database, writes nothing.

    Raises `BadInput` for a file that cannot be cut into records.
    """
    (cuts, bad), current = _cut_and_read_state(delivery, database, run)
    known, judged = _match(delivery, cuts, current, run)
    winners = _last_words(judged, current)
    judged = replace(judged, accepted=judged.accepted.select("id"))  # the winners hold the rest, until they are decided
    decisions = [_compare(winners, judged, cuts, current, database)]
    if delivery.reading == "snapshot" and cuts:
        decisions.append(_absent(known, judged, cuts, current, database))
    decided = _Decided(chain.from_iterable(decisions))
    return _plan(run, delivery, cuts, bad, known, judged, decided, current, database)


def apply_plan(
    plan: Plan,
    run: Mapping[str, Any],
    database: Database,
    progress: Progress = silence,
    evidence: Callable[[], object] = lambda: None,
) -> Receipt:
    """Write the plan in the open transaction, prove that it did just that, and commit.

    `run`: its `--json` object. `evidence` is called before the commit: it raises where there is no report.
    """
    receipt = load.load_plan(plan, run, database, progress)
    evidence()
    load.commit_plan(plan, database)
    return receipt


# --- the stages' loops: chunk by chunk, so that memory does not grow with the file ---------------------------------


def _cut_and_read_state(
    delivery: Delivery, database: Database, run: Run
) -> tuple[tuple[tuple[Cut, ...], tuple[FileCount, ...]], State]:
    """Both at a time where that pays: while the server sends its rows, long files are cut."""
    if sum(file.size for file in delivery.files) < LONG:
        return _cut(delivery, run), state.read_state(database)
    with ThreadPoolExecutor(1, "fleetfuel-cut") as pool:
        cutting = pool.submit(_cut, delivery, run)
        current = state.read_state(database)
        return cutting.result(), current


def _match(delivery: Delivery, cuts: tuple[Cut, ...], current: State, run: Run) -> tuple[pl.DataFrame, _Judged]:
    """The records that the table holds as they stand (`INDEX` with `row`), and what the others say."""
    index = pl.concat([frame.INDEX.to_frame(), *(frame.index_records(cut, number) for number, cut in enumerate(cuts))])
    times = [cut.file_at for cut in cuts] if delivery.reading == "changes" else None
    known, unknown = decide.match_rows(index, current, times)
    judged = _judge(unknown, cuts, run)
    known, repeated = decide.split_repeated(known, judged.accepted["id"], current)
    if repeated.height:
        judged = _together(judged, _judge(repeated.select(frame.INDEX.names()), cuts, run))
    return known, judged


def _judge(index: pl.DataFrame, cuts: tuple[Cut, ...], run: Run) -> _Judged:
    """What the records say, in their order. The odd rows of a few chunks are judged together."""
    judged = group = NOTHING_JUDGED
    suspects: list[pl.DataFrame] = []
    done = odd = 0
    for height, rows in _read(index, cuts, run):
        run.progress("read", done, index.height)
        done += height
        sound, others = judge.part_sound(rows.typed, run.rules)
        group = _together(group, _as_read(rows), _as_accepted(sound))
        suspects.append(others)
        odd += others.height
        if done == index.height or odd >= frame.CHUNK or len(suspects) == JUDGED:
            group = _together(group, _as_judged(judge.validate_rows(pl.concat(suspects), run.rules)))
            judged = _together(judged, replace(group, accepted=group.accepted.sort("file", "position")))
            group, suspects, odd = NOTHING_JUDGED, [], 0
    run.progress("read", done, index.height)
    return judged


def _as_read(rows: Rows) -> _Judged:
    return replace(
        NOTHING_JUDGED,
        rejected=rows.refused,
        unwrapped=dict(rows.unwrapped),
        unknown_fields=Counter({name: count for name, (count, _) in rows.unknown_fields.items()}),
        samples={name: sample for name, (_, sample) in rows.unknown_fields.items()},
        markers=list(rows.markers),
        legible_ids=list(rows.legible_ids),
    )


def _as_accepted(rows: pl.DataFrame) -> _Judged:
    return replace(
        NOTHING_JUDGED,
        accepted=rows.select(decide.CANDIDATES.names()),
        accepted_of=Counter(dict(rows["file"].value_counts().iter_rows())),
        spellings=_spellings(rows),
        given=Counter({name: rows[name].count() for name in COLUMNS}),
    )


def _as_judged(verdict: Verdict) -> _Judged:
    return replace(
        _as_accepted(verdict.accepted),
        warned=int(verdict.accepted["warned"].sum()),
        rejected=verdict.rejected,
        notices=verdict.notices,
    )


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


def _last_words(judged: _Judged, current: State) -> deque[pl.DataFrame]:
    """The versions that win, with `is_met`: whether there is a row to compare them with. In chunks, to be let go of."""
    winners = decide.last_words(judged.accepted)
    met = current.rows["id"].filter(decide.rows_of(winners["id"], current))
    return deque(winners.with_columns(is_met=pl.col("id").is_in(met.implode())).iter_slices(frame.CHUNK))


def _compare(
    winners: deque[pl.DataFrame], judged: _Judged, cuts: tuple[Cut, ...], current: State, database: Database
) -> Iterator[pl.DataFrame]:
    file_times = pl.Series([cut.file_at for cut in cuts], dtype=frame.INSTANT)
    while winners:
        chunk = winners.popleft()
        met = chunk.filter("is_met")["id"]
        details = state.read_details(database, met) if met.len() else state.DETAILS.to_frame()
        position = chunk.select(pl.when("is_met").then("value_position")).to_series()
        texts = frame.record_texts(cuts, judged.unwrapped, chunk["value_file"], position)
        versions = chunk.with_columns(
            file_at=file_times.gather(chunk["file"]),
            fingerprint=frame.record_fingerprints(cuts, judged.unwrapped, chunk["file"], chunk["position"]),
        )
        yield decide.compare_rows(versions, details, texts, current.vouched_at)


def _absent(
    known: pl.DataFrame, judged: _Judged, cuts: tuple[Cut, ...], current: State, database: Database
) -> Iterator[pl.DataFrame]:
    legible = pl.Series(judged.legible_ids, dtype=pl.Int64)
    others = pl.concat([judged.accepted["id"], judged.rejected["id"].drop_nulls(), legible])
    unkeyed = _unkeyed(judged, cuts)
    for chunk in decide.find_absent(current, known, others).to_frame().iter_slices(frame.CHUNK):
        details = decide.without_unkeyed(state.read_details(database, chunk["id"]), unkeyed)
        yield decide.mark_absent(details, cuts[-1].file_at, current.vouched_at)


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
    judged: _Judged,
    decided: _Decided,
    current: State,
    database: Database,
) -> Plan:
    acted, writes = decided.actions, decided.diff
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
        superseded=judged.accepted.height - sum(decided.of_files.values()),
        rejected=judged.rejected.height,
        warned=judged.warned,
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
    samples, flips = decide.sample_changes(
        writes.others, lambda file, position: frame.record_text(cuts, judged.unwrapped, file, position), run.rules
    )
    noticed = notices.feed_notices(
        [
            *notices.unknown_fields(judged.unknown_fields, judged.samples),
            *notices.unknown_spellings(judged.spellings, _unknown_spellings(judged, database), run.rules),
            *notices.type_flips(flips),
            *notices.id_jump(
                pl.concat([writes.inserts["id"], writes.others.filter(action="insert")["id"]]), _greatest(current)
            ),
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
        diff=writes,
        rejected=judged.rejected,
        notices=pl.concat([judged.notices, noticed]),
        counts=counts,
        columns=decide.changed_columns(writes.others, run.rules),
        samples=samples,
        rules=rules,
        resolved_rejects=_resolved(current, known, judged),
        files=tuple(sorted([*_file_counts(cuts, known, judged, decided), *bad], key=lambda each: (each.at, each.key))),
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


def _file_counts(cuts: tuple[Cut, ...], known: pl.DataFrame, judged: _Judged, decided: _Decided) -> Iterable[FileCount]:
    """What became of each file's records. A row is counted where the version that decides it lies."""
    counts: list[Counter[str]] = [Counter(records=len(cut.records)) for cut in cuts]
    for file, _ in judged.markers:
        counts[file].update(skipped=1, records=-1)
    for (number, action), rows in decided.of_files.items():
        counts[number][FILE_COUNT_OF[action]] += rows
        counts[number]["superseded"] -= rows
    ends = known["file"].search_sorted(pl.Series(range(len(cuts) + 1)))  # they lie in the order of the files
    for number, (first, last) in enumerate(pairwise(ends)):
        counts[number]["unchanged"] += last - first
    for number, rows in judged.accepted_of.items():
        counts[number]["superseded"] += rows
    for number in judged.rejected["file"]:
        counts[number]["rejected"] += 1
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
    rejected = current.open_rejects["id"].drop_nulls().unique()
    held = current.rows["id"].filter(decide.rows_of(rejected, current) & decide.rows_met(known, current))
    read = judged.accepted["id"].filter(judged.accepted["id"].is_in(rejected.implode()))
    return tuple(current.open_rejects.filter(pl.col("id").is_in(pl.concat([held, read]).implode()))["reject_id"])


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


NOTHING_JUDGED: Final = _Judged(
    accepted=decide.CANDIDATES.to_frame(),
    accepted_of=Counter(),
    warned=0,
    rejected=frame.REFUSED.to_frame(),
    notices=judge.NOTICES.to_frame(),
    unwrapped={},
    unknown_fields=Counter(),
    samples={},
    spellings=Counter(),
    given=Counter(),
    markers=[],
    legible_ids=[],
)


def _together(*parts: _Judged) -> _Judged:
    return _Judged(
        accepted=pl.concat([part.accepted for part in parts]),
        accepted_of=sum((part.accepted_of for part in parts), Counter()),
        warned=sum(part.warned for part in parts),
        rejected=pl.concat([part.rejected for part in parts]),
        notices=pl.concat([part.notices for part in parts]),
        unwrapped={place: each for part in parts for place, each in part.unwrapped.items()},
        unknown_fields=sum((part.unknown_fields for part in parts), Counter()),
        samples={name: sample for part in reversed(parts) for name, sample in part.samples.items()},
        spellings=sum((part.spellings for part in parts), Counter()),
        given=sum((part.given for part in parts), Counter()),
        markers=[place for part in parts for place in part.markers],
        legible_ids=[found for part in parts for found in part.legible_ids],
    )

"""Pure: what was read, matched, judged and decided → the plan."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import polars as pl

from fleetfuel.model.files import Delivery, Reading
from fleetfuel.model.plan import FileCount, Plan
from fleetfuel.model.records import Cut
from fleetfuel.model.table import State, Table
from fleetfuel.plan import match, notices
from fleetfuel.plan.batch import Batch
from fleetfuel.plan.counts import Decisions, count_files, count_records, count_rules
from fleetfuel.plan.files import origin_of, read_markers, remarks_on, stalled_feed
from fleetfuel.plan.held import find_held
from fleetfuel.plan.limits import Totals, check_limits
from fleetfuel.plan.run import Run
from fleetfuel.plan.samples import changed_columns, sample_changes, sample_rows
from fleetfuel.printable import sentence
from fleetfuel.records.fills import fill_names
from fleetfuel.records.places import FeedTexts
from fleetfuel.rules.fields import LOSABLE, SPELT

REMARKS: Final = 200
"""A summary holds at most so many remarks on the feed; notices.parquet of the report may hold more."""


def make_plan(
    run: Run,
    delivery: Delivery,
    reading: Reading,
    partial: str | None,
    cuts: tuple[Cut, ...],
    texts: FeedTexts,
    bad: tuple[FileCount, ...],
    known: pl.DataFrame,
    batch: Batch,
    decided: Decisions,
    current: State,
    table: Table,
) -> Plan:
    """The plan, with its counts, samples, notices and the guards it trips. `reading` is how the delivery was read in
    the end: like changes if it shows that it is `partial`."""
    writes = decided.diff
    counts = count_records(cuts, known, batch, decided)
    rules = count_rules(batch)
    live = int(current.rows["is_live"].sum())
    totals = Totals(
        reading=delivery.reading,
        cuts=cuts,
        counts=counts,
        live_before=live,
        mark=current.mark,
        markers=read_markers(cuts, batch.markers),
        stops=tuple((code, found.rows) for code, found in rules.items() if found.severity == "stop"),
        lost_columns=_lost_columns(batch, run, table),
        held=find_held(reading, cuts, table.held_lists(), run.rules, writes, texts, table.left_by),
    )
    names = fill_names(run.rules, run.zone)
    samples, flips = sample_changes(writes.others, texts.text, run.rules)
    noticed = notices.feed_notices(
        [
            *notices.unknown_fields(batch.unknown_fields, batch.samples),
            *notices.unknown_spellings(batch.spellings, _unknown_spellings(batch, table), run.rules),
            *notices.type_flips(flips),
            *notices.id_jump(
                pl.concat([writes.inserts["id"], writes.others.filter(action="insert")["id"]]), _greatest(current)
            ),
        ]
    )
    files = (*count_files(cuts, known, batch, decided), *bad)
    return Plan(
        run_id=run.run_id,
        mode=run.mode,
        reading=reading,
        source=delivery.source,
        started_at=run.started_at,
        origins=tuple(map(origin_of, cuts)),
        texts=texts,
        diff=writes,
        rejected=batch.rejected,
        notices=pl.concat([batch.notices, noticed]),
        counts=counts,
        columns=changed_columns(writes.others, run.rules),
        samples=samples,
        row_samples=sample_rows(writes, texts.text, names),
        fill_names=names,
        rules=rules,
        resolved_rejects=_resolved(current, known, batch),
        files=tuple(sorted(files, key=lambda each: (each.at, each.key))),
        guards=check_limits(totals, run.rules, run.overrides),
        live_before=live,
        watermark_before=current.watermark,
        rules_digest=run.rules.digest,
        mark_before=current.mark,
        keys=tuple(cut.file.key for cut in cuts),
        rule_files=dict(run.rules.file_digests),
        planned_by=run.run_id,
        as_of=run.as_of,
        remarks=tuple(
            map(
                sentence,
                (
                    *_stalled(run, delivery, cuts),
                    *delivery.notices,
                    *current.disbelieved,
                    *notices.disbelieved_times(batch.disbelieved, run.rules.guards.future_source_time_hours),
                    *remarks_on(reading, partial, cuts),
                    *noticed["reason"],
                )[:REMARKS],
            )
        ),
    )


def _stalled(run: Run, delivery: Delivery, cuts: tuple[Cut, ...]) -> Iterator[str]:
    if run.mode == "snapshot" and delivery.reading == "snapshot" and cuts:
        written = max(max(cut.file_at, cut.file.modified_at) for cut in cuts)
        yield from stalled_feed(written, run.started_at, run.rules)


def _resolved(current: State, known: pl.DataFrame, batch: Batch) -> tuple[int, ...]:
    """Open rejects whose record is accepted now, or is again the text that the table holds."""
    if current.open_rejects.is_empty():
        return ()
    rejected = current.open_rejects["id"].drop_nulls().unique()
    held = current.rows["id"].filter(match.rows_of(rejected, current) & match.rows_met(known, current))
    read = batch.accepted["id"].filter(batch.accepted["id"].is_in(rejected.implode()))
    return tuple(current.open_rejects.filter(pl.col("id").is_in(pl.concat([held, read]).implode()))["reject_id"])


def _unknown_spellings(batch: Batch, table: Table) -> list[tuple[str, str]]:
    if not batch.spellings:
        return []
    spellings: dict[str, list[str]] = {field: [] for field in SPELT}
    for field, spelling in batch.spellings:
        spellings[field].append(spelling)
    return table.unknown_spellings(spellings)


def _lost_columns(batch: Batch, run: Run, table: Table) -> tuple[tuple[str, float], ...]:
    """Columns that no record read now has, and nearly every stored row: asked only if one seems to be gone."""
    limit = run.rules.guards.lost_column
    if batch.accepted.height < limit.exempt_under_rows or all(batch.given[name] for name in LOSABLE):
        return ()
    shares = table.column_shares()
    return tuple((name, share) for name, share in shares.items() if share >= limit.share and not batch.given[name])


def _greatest(current: State) -> int | None:
    greatest = current.rows["id"].max()
    return greatest if isinstance(greatest, int) else None

"""Pure: the files of a delivery, cut into records; and what a plan keeps of each file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

from fleetfuel import errors
from fleetfuel.model import Cut, Delivery, FileCount, Origin
from fleetfuel.plan.run import Run
from fleetfuel.records import care, envelope


def cut_files(delivery: Delivery, run: Run) -> tuple[tuple[Cut, ...], tuple[FileCount, ...]]:
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


def origin_of(cut: Cut) -> Origin:
    """What a plan keeps of a file."""
    return Origin(
        key=cut.file.key,
        etag=cut.file.etag,
        size=cut.file.size,
        modified_at=cut.file.modified_at,
        at=cut.at,
        file_at=cut.file_at,
        # As a text of its source where jsonb would refuse it.
        metadata=cut.metadata if care.is_storable(cut.metadata.encode()) else json.dumps(cut.metadata),
        records=len(cut.records),
    )


def remarks_on(delivery: Delivery, cuts: tuple[Cut, ...]) -> Iterator[str]:
    """What the framing noticed of the files, in sentences."""
    for cut in cuts:
        yield from cut.remarks
        if delivery.reading == "changes" and cut.declared not in (None, len(cut.records)):
            yield f"{cut.file.key} announces {cut.declared:,} records and holds {len(cut.records):,}"

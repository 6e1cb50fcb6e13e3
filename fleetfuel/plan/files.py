"""Pure: the files of a delivery, cut into records; and what a plan keeps of each file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import polars as pl

from fleetfuel import errors
from fleetfuel.model.files import Delivery, Reading
from fleetfuel.model.plan import FileCount, Origin
from fleetfuel.model.records import Cut, Place
from fleetfuel.plan.run import Run
from fleetfuel.printable import counted
from fleetfuel.records import care, envelope
from fleetfuel.records.complete import CountFit, Marker, fit_count, read_marker
from fleetfuel.records.times import believe_time
from fleetfuel.rules.book import Rules
from fleetfuel.side import Pause, no_pause


def cut_files(delivery: Delivery, run: Run, pause: Pause = no_pause) -> tuple[tuple[Cut, ...], tuple[FileCount, ...]]:
    """The files cut into records, and those that cannot be read. Unless these are to be skipped, the run stops before
    the first of them: it alone is returned, with the cuts of the files before it. Raises `BadInput` if one cannot be
    read that is no change file of the bucket.

    `pause` is called between pieces of a long file."""
    cuts: list[Cut] = []
    bad = [
        FileCount(
            key=each.key,
            etag=each.etag,
            at=each.at,
            modified_at=each.modified_at,
            status="bad",
            counts={},
            reason=each.reason,
            is_lasting=each.is_lasting,
        )
        for each in delivery.unreadable
    ]
    for file in delivery.files:
        pause()
        try:
            cut = envelope.cut_file(file, run.zone, run.seed, pause)
            if delivery.reading == "changes":
                envelope.refuse_error_body(cut)
            cuts.append(cut)
        except errors.BadInput as error:
            if run.mode != "changes":
                raise
            at = file.key_at or file.modified_at
            bad.append(
                FileCount(
                    key=file.key,
                    etag=file.etag,
                    at=at,
                    modified_at=file.modified_at,
                    status="bad",
                    counts={},
                    reason=error.why,
                )
            )
    if run.skip_bad_files:
        skipped = (replace(each, status="quarantined" if each.is_lasting else "unread") for each in bad)
        return tuple(cuts), tuple(skipped)
    first = min(bad, key=lambda each: (each.at, each.key), default=None)
    if first is None:
        return tuple(cuts), ()
    return tuple(cut for cut in cuts if (cut.at, cut.file.key) < (first.at, first.key)), (first,)


def put_in_order(cuts: tuple[Cut, ...], reading: Reading, now: datetime) -> tuple[Cut, ...]:
    """The files with the times that are believed; those of changes in the order in which they are folded."""
    believed = [believe_time(cut, now) for cut in cuts]
    if reading == "changes":
        believed.sort(key=lambda cut: (cut.file_at, cut.file.key))
    return tuple(believed)


def read_markers(cuts: tuple[Cut, ...], places: Sequence[Place]) -> tuple[tuple[Marker, ...], ...]:
    """What the markers of each file say."""
    markers: list[list[Marker]] = [[] for _ in cuts]
    for file, position in places:
        markers[file].append(read_marker(cuts[file].records[position]))
    return tuple(map(tuple, markers))


def find_partial(cuts: tuple[Cut, ...], markers: tuple[tuple[Marker, ...], ...]) -> str | None:
    """Why a snapshot is not complete, as it says itself; None if nothing says so."""
    for cut, said in zip(cuts, markers, strict=True):
        if cut.partial:
            return cut.partial
        if Marker.ERROR in said:
            return "a marker with an error"
        for count in cut.declared:
            if fit_count(count, len(cut.records), said) is CountFit.BY_MARKERS:
                return f"its count, {count:,}, fits only if markers are counted"
    return None


def origin_of(cut: Cut) -> Origin:
    """What a plan keeps of a file."""
    return Origin(
        key=cut.file.key,
        etag=cut.file.etag,
        size=cut.file.size,
        modified_at=cut.file.modified_at,
        at=cut.at,
        file_at=cut.file_at,
        # What jsonb would refuse is kept as one JSON string.
        metadata=cut.metadata if care.is_storable(cut.metadata.encode()) else json.dumps(cut.metadata),
        records=len(cut.records),
        list_hash=list_hash(cut.records.fingerprints),
    )


def stalled_feed(written_at: datetime, now: datetime, rules: Rules) -> Iterator[str]:
    """A sentence if the export has not written the snapshot for `stale_feed_hours`: without it, runs that apply the
    same snapshot again and again look green."""
    age = now - written_at
    limit = rules.guards.stale_feed_hours
    if age > timedelta(hours=limit):
        hours = age.total_seconds() / 3600
        said = f"{hours / 24:,.0f} days" if hours >= 48 else f"{hours:,.0f} hours"
        yield f"the export has not written the snapshot for {said} (usual: within {limit:g} hours): does it run?"


def remarks_on(reading: Reading, partial: str | None, cuts: tuple[Cut, ...]) -> Iterator[str]:
    """What was noticed of the files, in sentences. `partial`: why a snapshot is not complete."""
    for cut in cuts:
        yield from cut.remarks
        if partial:
            yield f"{cut.file.key} is not complete ({partial}): it is read like a change file, nothing is absent by it"
        differing = [f"{count:,}" for count in cut.declared if count != len(cut.records)]
        if differing and not partial and reading == "changes":
            yield f"{cut.file.key} announces {' and '.join(differing)} and holds {counted(len(cut.records), 'record')}"


def list_hash(fingerprints: pl.Series) -> str:
    """One hash for the same records in any order."""
    return f"{len(fingerprints)}-{int(fingerprints.sum() or 0) & (1 << 128) - 1:032x}"

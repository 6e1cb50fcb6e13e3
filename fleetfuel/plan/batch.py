"""Pure: the records that have to be read → what they say: accepted, rejected, noticed. Chunk by chunk, so that memory
does not grow with the file.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

import polars as pl

from fleetfuel.model.records import Cut, Place, Rows, Unwrapped, Verdict
from fleetfuel.plan import decide
from fleetfuel.plan.run import Run
from fleetfuel.records import judge
from fleetfuel.records.rows import CHUNK, REJECTED, own_time_is_disbelieved, read_rows
from fleetfuel.rules.fields import LOSABLE, SPELT

READERS: Final = 2
"""Chunks read at a time: Polars lets other threads run meanwhile."""

JUDGED: Final = 50
"""Chunks whose suspect rows are judged together, or fewer if these fill a chunk: a call of Pandera is slow, even for
few rows."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """The records that had to be read: what may load, what is rejected, and what was noticed."""

    accepted: pl.DataFrame
    """`decide.CANDIDATES`, in the order of the records."""
    accepted_of: Counter[int]
    """Number of a file → how many of its records are accepted."""
    warned: int
    """Accepted records that a rule flags."""
    rejected: pl.DataFrame
    """`rows.REJECTED`."""
    notices: pl.DataFrame
    """`judge.NOTICES`."""
    unwrapped: dict[Place, Unwrapped]
    unknown_fields: Counter[str]
    """Field that the rules do not know → records that have it."""
    samples: dict[str, str]
    """Field that the rules do not know → one value as JSON text."""
    spellings: Counter[tuple[str, str]]
    """(field, its text) → accepted records, for the fields in `SPELT`."""
    given: Counter[str]
    """Field in `LOSABLE` → accepted records that have it."""
    disbelieved: Counter[int]
    """Id → how many of its accepted records have an own time too long after their file's to be believed."""
    markers: list[Place]
    legible_ids: list[int]


def judge_records(index: pl.DataFrame, cuts: tuple[Cut, ...], run: Run) -> Batch:
    """Read and judge the records of `index` (`rows.INDEX`), in their order. The suspect rows of a few chunks are judged
    together."""
    judged = group = NOTHING_READ
    suspects: list[pl.DataFrame] = []
    done = odd = 0
    for height, rows in _read(index, cuts, run):
        run.progress("read", done, index.height)
        done += height
        sound, others = judge.part_sound(rows.typed, run.rules)
        group = join_batches(group, _as_read(rows), _as_accepted(sound))
        suspects.append(others)
        odd += others.height
        if done == index.height or odd >= CHUNK or len(suspects) == JUDGED:
            group = join_batches(group, _as_judged(judge.validate_rows(pl.concat(suspects), run.rules)))
            judged = join_batches(judged, replace(group, accepted=group.accepted.sort("file", "position")))
            group, suspects, odd = NOTHING_READ, [], 0
    run.progress("read", done, index.height)
    return judged


def _as_read(rows: Rows) -> Batch:
    return replace(
        NOTHING_READ,
        rejected=rows.rejected,
        unwrapped=dict(rows.unwrapped),
        unknown_fields=Counter({name: count for name, (count, _) in rows.unknown_fields.items()}),
        samples={name: sample for name, (_, sample) in rows.unknown_fields.items()},
        markers=list(rows.markers),
        legible_ids=list(rows.legible_ids),
    )


def _as_accepted(rows: pl.DataFrame) -> Batch:
    return replace(
        NOTHING_READ,
        accepted=rows.select(decide.CANDIDATES.names()),
        accepted_of=Counter(dict(rows["file"].value_counts().iter_rows())),
        spellings=_spellings(rows),
        given=Counter({name: rows[name].count() for name in LOSABLE}),
        disbelieved=Counter(rows.filter(own_time_is_disbelieved())["id"]),
    )


def _as_judged(verdict: Verdict) -> Batch:
    return replace(
        _as_accepted(verdict.accepted),
        warned=int(verdict.accepted["warned"].sum()),
        rejected=verdict.rejected,
        notices=verdict.notices,
    )


def _read(index: pl.DataFrame, cuts: tuple[Cut, ...], run: Run) -> Iterator[tuple[int, Rows]]:
    """Each chunk's height and rows, in order; a few chunks are read at a time."""

    def read(chunk: pl.DataFrame) -> tuple[int, Rows]:
        return chunk.height, read_rows(chunk, cuts, run.rules, run.zone, run.seed)

    if index.height <= CHUNK:
        yield from map(read, index.iter_slices(CHUNK))
        return
    pool = ThreadPoolExecutor(READERS, "fleetfuel-read")
    try:
        chunks = index.iter_slices(CHUNK)
        ahead = deque(pool.submit(read, chunk) for chunk in islice(chunks, READERS))
        while ahead:
            found = ahead.popleft().result()
            ahead.extend(pool.submit(read, chunk) for chunk in islice(chunks, 1))
            yield found
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _spellings(accepted: pl.DataFrame) -> Counter[tuple[str, str]]:
    return Counter(
        {
            (field, spelling): rows
            for field in SPELT
            for spelling, rows in accepted[field].drop_nulls().value_counts().iter_rows()
        }
    )


NOTHING_READ: Final = Batch(
    accepted=decide.CANDIDATES.to_frame(),
    accepted_of=Counter(),
    warned=0,
    rejected=REJECTED.to_frame(),
    notices=judge.NOTICES.to_frame(),
    unwrapped={},
    unknown_fields=Counter(),
    samples={},
    spellings=Counter(),
    given=Counter(),
    disbelieved=Counter(),
    markers=[],
    legible_ids=[],
)


def join_batches(*parts: Batch) -> Batch:
    """All parts as one, in their order."""
    return Batch(
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
        disbelieved=sum((part.disbelieved for part in parts), Counter()),
        markers=[place for part in parts for place in part.markers],
        legible_ids=[found for part in parts for found in part.legible_ids],
    )

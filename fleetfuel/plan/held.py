"""Pure: lists of records that were undone and are held: does a delivery bring one of them again?

First by the hash of its texts. A list that is written otherwise (keys in another order, 1.10 for 1.1) has another hash;
such a one is known by what it says: every row would become what the undone run had left, as values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import polars as pl

from fleetfuel.model.files import Reading
from fleetfuel.model.plan import Diff
from fleetfuel.model.records import Cut
from fleetfuel.model.table import HeldList
from fleetfuel.plan.files import list_hash
from fleetfuel.plan.same import same_json
from fleetfuel.records.places import FeedTexts
from fleetfuel.records.texts import as_number, fingerprint
from fleetfuel.rules.book import Rules
from fleetfuel.writes import batches

TOGETHER: Final = 40_000
"""Rows compared at a time."""
UNSEEN: Final = ("refresh", "forget")
"""Actions that leave a row's value and state as they are."""


def find_held(
    reading: Reading,
    cuts: tuple[Cut, ...],
    held: tuple[HeldList, ...],
    rules: Rules,
    diff: Diff,
    texts: FeedTexts,
    left_by: Callable[[HeldList], pl.DataFrame],
) -> tuple[HeldList, ...]:
    """The lists among these that were undone and are held. `left_by`: the rows that the undone run of a list had
    written, as it left them (`undone.LEFT`)."""
    held = tuple(each for each in held if each.reading == reading)
    if not held:
        return ()
    cuts = tuple(cut for cut in cuts if reading == "snapshot" or len(cut.records))
    return (*_same_texts(cuts, held, rules),) or (*_same_values(cuts, held, diff, texts, left_by),)


def _same_texts(cuts: tuple[Cut, ...], held: tuple[HeldList, ...], rules: Rules) -> Iterator[HeldList]:
    """If the rules were others then, the records are hashed again with the seed of those rules."""
    for cut in cuts:
        hashes = {rules.digest: list_hash(cut.records.fingerprints)}
        for each in held:
            if each.rules_digest not in hashes:
                seed = int(each.rules_digest[:15], 16)
                again = [as_number(fingerprint(text, seed)) for text in cut.records]
                hashes[each.rules_digest] = list_hash(pl.Series(again, dtype=pl.Int128))
        yield from (each for each in held if hashes[each.rules_digest] == each.list_hash)


def _same_values(
    cuts: tuple[Cut, ...],
    held: tuple[HeldList, ...],
    diff: Diff,
    texts: FeedTexts,
    left_by: Callable[[HeldList], pl.DataFrame],
) -> Iterator[HeldList]:
    """A list of as many records that would do again what the undone run did: no more, and no less."""
    lengths = sorted(len(cut.records) for cut in cuts)
    for undone_by in dict.fromkeys(each.undone_by for each in held):
        lists = [each for each in held if each.undone_by == undone_by]
        are_all = lengths == sorted(each.records for each in lists)
        alike = [each for each in lists if [each.records] == lengths]
        if not are_all and not (alike and alike[0].reading == "changes"):
            continue
        left = left_by(lists[0])
        if are_all and _does_again(diff, texts, left):
            yield lists[0]
        elif alike and alike[0].reading == "changes":  # one of the files that the run had read, alone
            yield from (alike[0] for of_file in left.partition_by("key") if _does_again(diff, texts, of_file))


def _does_again(diff: Diff, texts: FeedTexts, left: pl.DataFrame) -> bool:
    """Whether what is written makes rows what they were in `left`, and leaves no row of `left` otherwise."""
    writes = diff.others.filter(~pl.col("action").is_in(UNSEEN))
    ids = pl.concat([diff.inserts["id"], writes["id"]])
    others = left.filter(~pl.col("id").is_in(ids.implode()))
    if ids.is_empty() or len(ids) + others.height != left.height or not others["stands"].all():
        return False
    for rows in batches(Diff(inserts=diff.inserts, others=writes), TOGETHER):
        met = rows.join(left, on="id", how="left", maintain_order="left", suffix="_left")
        is_other = (pl.col("deleted_at").is_not_null() != pl.col("is_deleted")) | (
            pl.col("absent_since").is_not_null() != pl.col("is_absent")
        )
        if met.select((pl.col("raw").is_null() | is_other).any()).item():
            return False
        new = texts.take(met["file"], met["position"]).to_pylist()
        for text, before, then in zip(new, met["before"], met["raw"], strict=True):
            if not same_json(before.encode() if text is None else text, then.encode()):
                return False
    return True

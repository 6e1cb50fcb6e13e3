"""Pure: what is shown of the rows to write: which columns change, and a few values and rows of each kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec
import polars as pl

from fleetfuel.model.plan import Diff, RowSample, Sample
from fleetfuel.printable import one_line
from fleetfuel.records.fills import FillNames, read_fills
from fleetfuel.records.values import EAST_AFRICA
from fleetfuel.rules.book import Rules

NAMED: Final = 100
"""At most so many changed fields are named: those that changed in most rows."""


LOOKED_AT: Final = 5_000
"""At most so many updated rows are looked at for samples."""


_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


def changed_columns(writes: pl.DataFrame, rules: Rules) -> Mapping[str, int]:
    """Column → in how many rows it changed, most first; a field the rules do not know goes by its own name."""
    canonical = {alias: field for field, aliases in rules.fields.items() for alias in aliases}
    counted = (
        writes.filter(pl.col("action").is_in(["update", "restore", "soft_delete_flagged"]))
        .select(pl.col("changed").list.eval(pl.element().replace(canonical)).list.unique().explode())
        .drop_nulls()
        .group_by("changed")
        .len()
        .sort("len", "changed", descending=[True, False])
    )
    columns: Counter[str] = Counter()
    for number, (name, rows) in enumerate(counted.iter_rows()):
        columns[one_line(name) if number < NAMED or name in rules.fields else "other fields"] += rows
    return dict(columns)


def sample_changes(
    writes: pl.DataFrame, text_of: Callable[[int, int], bytes], rules: Rules, *, each: int = 3, most: int = 8
) -> tuple[Mapping[str, Sequence[Sample]], Counter[tuple[str, str, str]]]:
    """A few changes of each column to show, never of a personal one; and (field, types before, after) → updated rows.

    Looks at the first `LOOKED_AT` updated rows only: a sample says what kind of change it is, not how many.
    """
    canonical = {alias: field for field, aliases in rules.fields.items() for alias in aliases}
    samples: dict[str, list[Sample]] = {}
    flips: Counter[tuple[str, str, str]] = Counter()
    changed = writes.filter((pl.col("action") == "update") & pl.col("position").is_not_null()).head(LOOKED_AT)
    for row in changed.select("id", "file", "position", "changed", "before", "plate", "filled_at").iter_rows(
        named=True
    ):
        try:
            old = _fields.decode(row["before"].encode())
        except (msgspec.ValidationError, RecursionError):  # as in `changed_fields`
            continue
        new = _fields.decode(text_of(row["file"], row["position"]))
        day = row["filled_at"].astimezone(EAST_AFRICA).date().isoformat() if row["filled_at"] else ""
        for name in row["changed"]:
            before, after = (bytes(side.get(name, b"null")) for side in (old, new))
            types = json_type(before), json_type(after)
            if "null" not in types and types[0] != types[1]:
                flips[name, *types] += 1
            column = canonical.get(name)
            if column is None or column in rules.personal:
                continue
            shown = samples.setdefault(column, []) if len(samples) < most or column in samples else None
            if shown is not None and len(shown) < each:
                about = row["plate"] or f"id {row['id']}"
                shown.append(Sample(before=before.decode(), after=after.decode(), plate=about, day=day))
    return samples, flips


def sample_rows(
    diff: Diff, text_of: Callable[[int, int], bytes], names: FillNames, *, each: int = 3
) -> Mapping[str, Sequence[RowSample]]:
    """`soft_deletes`, `inserts` → the first few of those rows, with the fill that each is of."""
    is_gone = pl.col("action").is_in(["soft_delete_absent", "soft_delete_flagged"])
    # By id: the table gives its rows in the order in which they lie, which a vacuum changes.
    gone = diff.others.filter(is_gone).sort("action", "id", descending=[True, False]).head(each)
    new = pl.concat([diff.inserts, diff.others.filter(action="insert")], how="diagonal_relaxed").head(each)
    places = new.select("file", "position").iter_rows()
    texts = {
        "soft_deletes": (gone["id"], gone["before"]),
        "inserts": (new["id"], pl.Series([text_of(*place).decode() for place in places], dtype=pl.String)),
    }
    return {name: _row_samples(ids, records, names) for name, (ids, records) in texts.items() if ids.len()}


def _row_samples(ids: pl.Series, records: pl.Series, names: FillNames) -> list[RowSample]:
    fills = read_fills(records, names).select("plate", "day").iter_rows()
    return [
        RowSample(id=number, plate=plate or "", day=day.isoformat() if day else "")
        for number, (plate, day) in zip(ids, fills, strict=True)
    ]


def json_type(text: bytes) -> str:
    """The JSON type of a value's text, in words."""
    words = {b'"': "text", b"{": "object", b"[": "list", b"t": "truth value", b"f": "truth value", b"n": "null"}
    return words.get(text[:1], "number")

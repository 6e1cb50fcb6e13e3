"""What the figures of one vehicle are, in plain Python, by the words of `migrations/README.md`: an oracle.

It walks through lists where the database takes windows, and knows nothing of what is usual for a vehicle: that is
another judgement, made afterwards.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Final

from table import Row

EAT: Final = timezone(timedelta(hours=3))
WITHIN: Final = timedelta(minutes=20)
LATE: Final = timedelta(days=60)
FAMILIES: Final = {"DIESEL": "DIESEL", "PETROL": "PETROL", "V-POWER": "PETROL", "ADBLUE": "ADBLUE"}

Figure = tuple[str, int | None, float | None]
"""Status, km and litres of the span."""

Undated = tuple[int, str | None]
"""Reading and fuel family of a fill of which nobody knows when it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """A fill as its record says."""

    id: int
    at: datetime
    reported: datetime | None
    has_clock: bool
    litres: float | None
    kes: float | None
    odometer: int | None
    family: str | None
    counts_twice: bool = False
    """The very fill before, once more: time, reading, litres and money."""
    is_odd: bool = False
    """Its reading lies outside its neighbours, which agree."""
    is_stray: bool = False
    """It is dated long before its report, and has a reading: it may have been at another time."""
    is_misdated: bool = False
    """A stray that reads more than the next fill: where it stands, it does not belong."""

    @property
    def reading(self) -> int | None:
        return self.odometer if self.odometer and 1 <= self.odometer <= 2_000_000 else None

    @property
    def good(self) -> int | None:
        return None if self.counts_twice or self.is_odd or self.is_misdated else self.reading

    @property
    def is_swapped(self) -> bool:
        litres, kes = self.litres or 0, self.kes or 0
        return litres > 0 and kes > 0 and kes / litres < 50 and 50 * kes <= litres <= 500 * kes

    @property
    def counted(self) -> float | None:
        """Litres in a span; None if they are not known."""
        return 0 if self.counts_twice else self.litres if (self.litres or 0) > 0 and not self.is_swapped else None


def read_fill(id_: int, raw: Row) -> Fill | None:
    """None if nobody knows when it was."""
    reported = datetime.fromisoformat(f"{raw['created_at']}+00:00") if raw["created_at"] else None
    parts = [int(part) for part in (raw["datetime"] or "").split("-") if part]
    at = datetime(*parts, tzinfo=EAT) if parts else None  # type: ignore[arg-type, misc]
    has_clock = len(parts) > 3 and parts[3:] != [0, 0]
    if reported and (at is None or at > reported + timedelta(days=1)):
        at, has_clock = reported, False
    if at is None:
        return None
    return Fill(
        id=id_, at=at, reported=reported, has_clock=has_clock, litres=raw["liters"], kes=raw["amount"],
        odometer=raw["odometer"], family=FAMILIES.get(raw["type"]),
    )  # fmt: skip


def read_undated(raw: Row) -> Undated | None:
    """None if somebody knows when it was, or if it has no reading."""
    if read_fill(0, raw) or not 1 <= (raw["odometer"] or 0) <= 2_000_000:
        return None
    return raw["odometer"], FAMILIES.get(raw["type"])


def figures_of(fills: Sequence[Fill], undated: Sequence[Undated]) -> dict[int, Figure]:
    """By id, of one vehicle of no particular class."""
    superseded, unclear = find_twins(fills)
    figures: dict[int, Figure] = dict.fromkeys(superseded, ("superseded", None, None))
    standing = sorted(
        (fill for fill in fills if fill.id not in superseded),
        key=lambda fill: (fill.at, fill.odometer is None, fill.odometer or 0, fill.id),
    )
    usual, is_mixed = usual_fuel(standing)
    standing = [*_misdated([*_repeats(standing, unclear)], usual)]
    strays: list[tuple[int, datetime | None]] = [
        *((fill.odometer, fill.at) for fill in standing if fill.is_stray and fill.odometer),
        *((reading, None) for reading, family in undated if (family or usual) == usual),
    ]
    chain = [fill for fill in standing if (fill.family or usual) == usual]
    figures |= {fill.id: ("other_fuel", None, None) for fill in standing if fill not in chain}
    chain = [*_odd_readings(chain)]

    base: Fill | None = None
    since: list[Fill] = []
    last_reading = None
    for stop in _stops(chain):
        carrier = next((fill for fill in reversed(stop) if fill.good), None)
        since += stop
        for fill in stop:
            figures[fill.id] = ("same_stop", None, None) if carrier else (_without_reading(fill), None, None)
        if carrier:
            figures[carrier.id] = _span(base, carrier, since, unclear, strays)
            if carrier.good != last_reading:
                base, since, last_reading = carrier, [], carrier.good
    if is_mixed:
        figures |= {fill.id: ("mixed_fuels", None, None) for fill in chain}
    return figures


def find_twins(fills: Iterable[Fill]) -> tuple[set[int], set[int]]:
    """Ids that a later record supersedes, and ids of fills that may be another one once more."""
    dated = sorted((fill for fill in fills if fill.reported), key=lambda fill: (fill.reported, fill.id))
    later: dict[int, set[int]] = defaultdict(set)
    places = {fill.id: place for place, fill in enumerate(dated)}
    for place, one in enumerate(dated):
        for other in dated[place + 1 :]:
            if other.reported - one.reported <= WITHIN and _is_twin(one, other):  # type: ignore[operator]
                later[one.id].add(other.id)
                later[other.id].add(one.id)
    superseded = set()
    for id_ in later:
        chained = {id_}
        while more := set().union(*(later[each] for each in chained)) - chained:
            chained |= more
        if id_ != max(chained, key=places.__getitem__):
            superseded.add(id_)
    standing = [fill for fill in dated if fill.id not in superseded]
    unclear = {
        other.id
        for one in standing
        for other in standing
        if (one.at, one.id) < (other.at, other.id)
        and abs(other.reported - one.reported) <= WITHIN  # type: ignore[operator]
        and (one.litres, one.kes, one.odometer) == (other.litres, other.kes, other.odometer)
        and (one.litres, one.kes) != (None, None)
    }
    return superseded, unclear


def _is_twin(one: Fill, other: Fill) -> bool:
    same = one.litres == other.litres, one.kes == other.kes
    known = one.litres is not None, one.kes is not None
    if one.reading and one.odometer == other.odometer and same in ((True, False), (False, True)):
        return known[same.index(True)]
    return one.has_clock and other.has_clock and one.at == other.at and all(same) and any(known)


def usual_fuel(fills: Sequence[Fill]) -> tuple[str | None, bool]:
    """The family with the most litres (at a tie the latest), slips left out; whether the vehicle takes two."""
    telling = [fill for fill in fills if not ((fill.litres or 0) > 1_000 and (fill.kes or 1e9) / fill.litres < 1)]  # type: ignore[operator]
    sizes = sorted(fill.litres for fill in telling if (fill.litres or 0) > 0)  # type: ignore[type-var]
    most = 8 * sizes[(len(sizes) - 1) // 2] if len(sizes) >= 6 else float("inf")  # type: ignore[operator]
    families: dict[str, list[Fill]] = defaultdict(list)
    for fill in telling:
        if fill.family and fill.family != "ADBLUE":
            families[fill.family].append(fill)

    def weight(family: str) -> tuple[float, datetime]:
        own = families[family]
        return sum(fill.litres for fill in own if 0 < (fill.litres or 0) <= most), max(fill.at for fill in own)  # type: ignore[misc]

    total = sum(map(len, families.values()))
    often = [own for own in families.values() if len(own) >= 3 and len(own) >= 0.2 * total]
    return max(sorted(families, reverse=True), key=weight, default=None), len(often) >= 2


def _repeats(fills: Sequence[Fill], unclear: set[int]) -> Iterable[Fill]:
    for before, fill in zip([None, *fills], fills, strict=False):
        again = before and (before.at, before.odometer, before.litres, before.kes) == (
            *(fill.at, fill.odometer, fill.litres),
            fill.kes,
        )
        yield dataclasses.replace(
            fill, counts_twice=bool(again and fill.reading and (fill.litres or 0) > 0 and fill.id not in unclear)
        )


def _misdated(fills: Sequence[Fill], usual: str | None) -> Iterable[Fill]:
    for fill, after in zip(fills, [*fills[1:], None], strict=True):
        is_stray = bool(
            fill.reported and fill.reported - fill.at > LATE and fill.reading and (fill.family or usual) == usual
        )
        is_more = after is not None and after.odometer is not None and (fill.odometer or 0) > after.odometer
        yield dataclasses.replace(fill, is_stray=is_stray, is_misdated=is_stray and is_more)


def _odd_readings(chain: Sequence[Fill]) -> Iterable[Fill]:
    read = [fill for fill in chain if fill.good]
    pauses = [None, *(after.at - before.at for before, after in itertools.pairwise(read)), None]
    padded: list[int | None] = [None, None, *(fill.reading for fill in read), None, None]
    odd = set()
    for fill, since, until, before_that, before, km, after, after_that in zip(
        read, pauses, pauses[1:], padded, padded[1:], padded[2:], padded[3:], padded[4:], strict=False
    ):
        if before is None or after is None or km is None or since is None or until is None or not before <= after:
            continue
        if (
            before - 5 * (since <= WITHIN) <= km <= after + 5 * (until <= WITHIN)
        ):  # receipts of one stop, in either order
            continue
        is_between_outliers = (
            before_that is not None and after_that is not None and before_that <= km <= after_that
            and not before_that <= before <= km and not km <= after <= after_that
        )  # fmt: skip
        if not is_between_outliers:
            odd.add(fill.id)
    return (dataclasses.replace(fill, is_odd=fill.id in odd) for fill in chain)


def _stops(chain: Sequence[Fill]) -> list[list[Fill]]:
    stops: list[list[Fill]] = []
    last_good = None
    for before, fill in zip([None, *chain], chain, strict=False):
        if before is None or fill.at - before.at > WITHIN:
            stops.append([])
            last_good = None
        elif fill.good and last_good and abs(fill.good - last_good) > 5:
            stops.append([])
        stops[-1].append(fill)
        last_good = fill.good or last_good
    return stops


def _without_reading(fill: Fill) -> str:
    is_wrong = fill.is_odd or fill.is_misdated or (fill.odometer or 0) > 2_000_000
    return "odometer_outlier" if is_wrong else "missing_odometer"


def _span(
    base: Fill | None,
    fill: Fill,
    since: Sequence[Fill],
    unclear: set[int],
    strays: Sequence[tuple[int, datetime | None]],
) -> Figure:
    if base is None or base.good is None or fill.good is None:
        return "first_fill", None, None
    km, hours = fill.good - base.good, (fill.at - base.at) / timedelta(hours=1)
    litres = [each.counted for each in since]
    if km <= 0:
        return "odometer_rollback", None, None
    if 3_000 < km <= 1_000 * hours / 24 and hours >= 14 * 24:
        return "fills_missing", None, None
    if km > min(3_000, 1_500 * max(1.0, hours / 24)):
        return "odometer_jump", None, None
    if None in litres:
        return "no_litres", km, None
    if any(each.id in unclear or each.is_misdated for each in since):
        return "ambiguous", None, None
    if any(base.good < each <= fill.good and not (at and base.at <= at <= fill.at) for each, at in strays):
        return "ambiguous", None, None
    total = sum(each for each in litres if each is not None)
    is_too_fast = base.has_clock and fill.has_clock and km > 150 * (hours + 0.25)
    if is_too_fast or not total <= km <= 30 * total:
        return "implausible", None, None
    return "ok", km, total

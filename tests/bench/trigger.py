"""What the derived columns cost: the same texts stored alone, and stored through the trigger."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import adbc_driver_postgresql.dbapi as adbc
import msgspec
import pyarrow as pa

from .measure import cpu_of_tree
from .stage import Stage
from .table import aligned, spread

TARGET: Final = 2.0
"""Times the cost of storing the texts alone."""

FILL: Final = "insert into {table} (id, raw) select id, raw::jsonb from texts"

BASELINE: Final = "raw alone"

STORES: Final = {
    BASELINE: ("alone", FILL),
    "fuel.records, trigger off": ("fuel.records", FILL),
    "fuel.records": ("fuel.records", FILL),
}
"""What is stored where, the baseline first; each reads the records' JSON text, as a load has to."""

READS: Final = {
    "text to jsonb": "select count(raw::jsonb) from texts",
    "one field": "select max(length(raw ->> 'car')) from parsed",
    "fuel.derive": "select count(d.litres) from parsed, lateral fuel.derive(raw, now()) as d",
    "norm_plate": "select count(fuel.norm_plate(raw ->> 'car')) from parsed",
    "clean_department": "select count(fuel.clean_department(raw ->> 'department')) from parsed",
    "clean_label": "select count(fuel.clean_label(raw ->> 'type')) from parsed",
    "read_number": "select count(fuel.read_number(raw ->> 'liters')) from parsed",
    "read_time": "select count(fuel.read_time(raw ->> 'datetime', 'Africa/Nairobi')) from parsed",
}
"""What the parts cost that store nothing. The last five are one call a row, and hold the reading of one field."""


class _Envelope(msgspec.Struct):
    records: list[msgspec.Raw]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Seconds that one statement took, and of the server's CPU."""

    wall: float
    cpu: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerCost:
    """What each statement cost, round by round."""

    records: int
    stores: Mapping[str, Sequence[Spent]]
    reads: Mapping[str, Sequence[Spent]]

    @property
    def ratio(self) -> float:
        """Median over the rounds of stored with derived columns ÷ stored alone, in CPU of the server."""
        return statistics.median(self._ratios("fuel.records", "cpu"))

    def _ratios(self, name: str, what: str) -> list[float]:
        pairs = zip(self.stores[name], self.stores[BASELINE], strict=True)
        return [getattr(one, what) / getattr(alone, what) for one, alone in pairs]

    def render(self) -> str:
        header = ("", "wall s", "CPU s", "CPU µs a row", "wall ÷ raw alone", "CPU ÷ raw alone")
        rounds = len(self.stores[BASELINE])
        stores = [
            (*self._line(name, spent), *(spread(self._ratios(name, what)) for what in ("wall", "cpu")))
            for name, spent in self.stores.items()
        ]
        reads = [self._line(name, spent) for name, spent in self.reads.items()]
        off = abs(self.ratio / TARGET - 1)
        said = f"met, {off:.0%} to spare" if self.ratio <= TARGET else f"missed by {off:.0%}"
        return "\n".join(
            [
                f"storing {self.records:,} records · {rounds} rounds, medians, CPU of the server",
                *aligned([header, *stores]),
                "",
                "without storing anything",
                *aligned([header[:4], *reads]),
                "",
                f"target: derived columns ≤ {TARGET:g} × raw alone, in CPU: {self.ratio:.2f}, {said}",
            ]
        )

    def _line(self, name: str, spent: Sequence[Spent]) -> tuple[str, ...]:
        cpu = statistics.median(each.cpu for each in spent)
        wall = statistics.median(each.wall for each in spent)
        return name, f"{wall:.2f}", f"{cpu:.2f}", f"{cpu / self.records * 1e6:.2f}"


def measure_trigger(stage: Stage, size: int, rounds: int) -> TriggerCost:
    """Store the same texts in turn, into an emptied table each time."""
    records = msgspec.json.decode(stage.snapshot(size).read_bytes(), type=_Envelope).records
    stores: dict[str, list[Spent]] = {name: [] for name in STORES}
    reads: dict[str, list[Spent]] = {name: [] for name in READS}
    with (
        stage.database(stage.migrated) as uri,
        adbc.connect(uri, autocommit=True) as connection,
        connection.cursor() as cursor,
    ):
        cursor.executescript(
            "create table texts (id bigint, raw text);"
            "create table alone (id bigint primary key, raw jsonb not null) with (fillfactor = 90)"
        )
        texts = pa.table({"id": range(1, size + 1), "raw": pa.array([*map(bytes, records)]).cast(pa.string())})
        cursor.adbc_ingest("texts", texts.to_reader(20_000), mode="append")
        cursor.executescript("create table parsed as select id, raw::jsonb as raw from texts")
        cursor.executescript("vacuum analyze texts, parsed")
        cursor.executescript("set max_parallel_workers_per_gather = 0")
        cursor.executescript("set fuel.marks_plates = 'on'")  # a load marks vehicles in one go, not row by row
        for number in range(rounds):
            for name, (table, statement) in STORES.items():
                switch = "disable" if name.endswith("trigger off") else "enable"
                cursor.executescript(f"alter table fuel.records {switch} trigger derive_columns_of_new")
                stores[name].append(_spent(cursor, statement.format(table=table), stage.server.pid))
                cursor.executescript(f"truncate {table}")
                cursor.executescript("checkpoint")
                print(f"{name}, round {number + 1}: {stores[name][-1].wall:.2f} s", file=sys.stderr)
            for name, statement in READS.items():
                reads[name].append(_spent(cursor, statement, stage.server.pid))
    return TriggerCost(records=size, stores=stores, reads=reads)


def _spent(cursor: adbc.Cursor, statement: str, server: int) -> Spent:
    before = cpu_of_tree(server)
    started = time.perf_counter()
    cursor.execute(statement)
    return Spent(wall=time.perf_counter() - started, cpu=cpu_of_tree(server) - before)

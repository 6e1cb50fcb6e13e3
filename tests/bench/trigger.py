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
from .table import aligned

TARGET: Final = 2.0
"""Times the cost of storing the texts alone."""

FILL: Final = "insert into {table} (id, raw) select id, raw from texts"

STORES: Final = {
    "raw alone": ("alone", FILL),
    "fuel.records, trigger off": ("fuel.records", FILL),
    "fuel.records": ("fuel.records", FILL),
}
"""What is stored where, the baseline first."""

READS: Final = {
    "read the text": "select max(length(raw ->> 'car')) from texts",
    "fuel.derive": "select count(d.litres) from texts, lateral fuel.derive(raw, now()) as d",
    "norm_plate": "select count(fuel.norm_plate(raw ->> 'car')) from texts",
    "clean_department": "select count(fuel.clean_department(raw ->> 'department')) from texts",
    "clean_label": "select count(fuel.clean_label(raw ->> 'type')) from texts",
    "read_number": "select count(fuel.read_number(raw ->> 'liters')) from texts",
    "read_time": "select count(fuel.read_time(raw ->> 'datetime', 'Africa/Nairobi')) from texts",
}
"""What a part costs that stores nothing; each of the last five is a call a row, on top of reading the text."""


class _Envelope(msgspec.Struct):
    records: list[msgspec.Raw]


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerCost:
    """Seconds, round by round."""

    records: int
    stores: Mapping[str, Sequence[float]]
    reads: Mapping[str, Sequence[float]]

    @property
    def ratio(self) -> float:
        """Median over the rounds of stored with derived columns ÷ stored alone."""
        return statistics.median(self._ratios("fuel.records"))

    def _ratios(self, name: str) -> list[float]:
        return [one / alone for one, alone in zip(self.stores[name], self.stores["raw alone"], strict=True)]

    def render(self) -> str:
        lines = [
            f"storing {self.records:,} records · {len(self.stores['raw alone'])} rounds, medians, CPU of the server"
        ]
        lines += aligned(
            [
                ("", "CPU s", "µs a row", "÷ raw alone"),
                *(self._line(name, times, self._ratios(name)) for name, times in self.stores.items()),
            ]
        )
        lines += ["", "reading them without storing anything"]
        lines += aligned(
            [("", "CPU s", "µs a row", ""), *(self._line(n, times, []) for n, times in self.reads.items())]
        )
        off = abs(self.ratio / TARGET - 1)
        said = f"met, {off:.0%} to spare" if self.ratio <= TARGET else f"missed by {off:.0%}"
        return "\n".join([*lines, "", f"target: derived columns ≤ {TARGET:g} × raw alone: {self.ratio:.2f}, {said}"])

    def _line(self, name: str, times: Sequence[float], ratios: Sequence[float]) -> tuple[str, ...]:
        median = statistics.median(times)
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})" if ratios else ""
        return name, f"{median:.2f}", f"{median / self.records * 1e6:.2f}", spread


def measure_trigger(stage: Stage, size: int, rounds: int) -> TriggerCost:
    """Store the same texts by turns, into an emptied table each time."""
    records = msgspec.json.decode(stage.snapshot(size).read_bytes(), type=_Envelope).records
    stores: dict[str, list[float]] = {name: [] for name in STORES}
    reads: dict[str, list[float]] = {name: [] for name in READS}
    with (
        stage.database(stage.migrated) as uri,
        adbc.connect(uri, autocommit=True) as connection,
        connection.cursor() as cursor,
    ):
        cursor.executescript(
            "create table texts (id bigint, raw jsonb);"
            "create table alone (id bigint primary key, raw jsonb not null) with (fillfactor = 90)"
        )
        batch = pa.RecordBatch.from_arrays(
            [
                pa.array(range(1, size + 1), type=pa.int64()),
                pa.ExtensionArray.from_storage(
                    pa.json_(), pa.array([*map(bytes, records)], type=pa.binary()).cast(pa.string())
                ),
            ],
            names=["id", "raw"],
        )
        cursor.adbc_ingest("texts", pa.Table.from_batches([batch]).to_reader(20_000), mode="append")
        cursor.executescript("vacuum analyze texts")
        for number in range(rounds):
            for name, (table, statement) in STORES.items():
                switch = "disable" if name.endswith("trigger off") else "enable"
                cursor.executescript(f"alter table fuel.records {switch} trigger derive_columns_of_new")
                stores[name].append(_spent(cursor, statement.format(table=table), stage.server.pid))
                cursor.executescript(f"truncate {table}")
                cursor.executescript("checkpoint")
                print(f"{name}, round {number + 1}: {stores[name][-1]:.2f} s", file=sys.stderr)
            for name, statement in READS.items():
                reads[name].append(_spent(cursor, statement, stage.server.pid))
    return TriggerCost(records=size, stores=stores, reads=reads)


def _spent(cursor: adbc.Cursor, statement: str, server: int) -> float:
    """CPU that the server spends on a statement: neighbours on the same machine disturb it least."""
    before = cpu_of_tree(server)
    started = time.perf_counter()
    cursor.execute(statement)
    spent = cpu_of_tree(server) - before
    return spent or time.perf_counter() - started

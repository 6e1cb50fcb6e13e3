"""What the views cost an analyst, their facts stored and all stale, next to a plain scan of the records."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import adbc_driver_postgresql.dbapi as adbc

from .stage import Stage
from .table import aligned

PLAIN: Final = "select count(*), sum(litres) from fuel.records"
"""What every figure is held against, run just before it."""

VIEWS: Final = {
    "v_fuel_fills": "sum(litres), max(length(imei)), max(filled_on)",
    "v_fuel_efficiency": "sum(span_litres), sum(km_per_litre), sum(rolling_km_per_litre), max(filled_on)",
    "v_fuel_anomalies": "max(length(value)), max(length(expected)), max(length(sentence)), max(severity)",
}
"""View → what of it an aggregate asks for."""

FINDINGS: Final = "count(worst_severity), max(cardinality(finding_codes)), max(changed_at)"
"""What `v_fuel_fills` says of each fill beyond its record; the views of the first wave had none of it."""

QUESTIONS: Final = {
    "whole, count": "select count(*) from reporting.{view}",
    "whole, values": "select {values} from reporting.{view}",
    "30 days, values": "select {values} from reporting.{view} where filled_at >= '{since}' and filled_at < '{until}'",
    "one plate, values": "select {values} from reporting.{view} where plate = '{plate}'",
}

LATEST: Final = "select * from reporting.{view} order by filled_at desc limit 100"

HOURLY_FILLS: Final = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one question cost: seconds, and as many times the plain scan of the same minute."""

    seconds: float
    ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewCost:
    """What every question cost, by view and question."""

    records: int
    refreshes: Mapping[str, float]
    """What was computed anew → seconds."""
    stored: Mapping[tuple[str, str], Answer]
    stale: Mapping[tuple[str, str], Answer]

    def render(self) -> str:
        header = ("", "", "stored s", "÷ plain", "all stale s", "÷ plain")
        rows = [
            (
                *key,
                f"{stored.seconds:.3f}",
                f"{stored.ratio:.2f}",
                f"{self.stale[key].seconds:.3f}",
                f"{self.stale[key].ratio:.2f}",
            )
            for key, stored in self.stored.items()
        ]
        refreshes = [f"{what}: {seconds:.2f} s" for what, seconds in self.refreshes.items()]
        return "\n".join([f"views over {self.records:,} records", *aligned([header, *rows]), *refreshes])


def measure_views(stage: Stage, size: int, rounds: int) -> ViewCost:
    """Ask every question of a loaded database, first with all facts stored, then with all of them stale."""
    name = stage.loaded(size)
    refreshes = {}
    with adbc.connect(stage.server.uri(name), autocommit=True) as connection, connection.cursor() as cursor:
        refreshes["all marked stale"] = ask_seconds(cursor, "select fuel.mark_every_vehicle()")
        for fills in (HOURLY_FILLS, size):
            said = f"{fills:,} fills computed anew at most"
            refreshes[said] = ask_seconds(cursor, f"select * from fuel.refresh_fill_facts({fills})")
        cursor.executescript("vacuum (analyze)")
        questions = questions_of(cursor)
        stored = {key: _ask(cursor, key, question, rounds) for key, question in questions.items()}
        cursor.executescript("select fuel.mark_every_vehicle()")
        cursor.executescript("vacuum (analyze) fuel.stale_vehicles")
        stale = {key: _ask(cursor, key, question, 1) for key, question in questions.items()}
    return ViewCost(records=size, refreshes=refreshes, stored=stored, stale=stale)


def questions_of(cursor: adbc.Cursor) -> dict[tuple[str, str], str]:
    """View and question → the statement, about the last 30 days and a plate of this fleet."""
    cursor.execute(
        "select (max(filled_at) - interval '30 days')::text, max(filled_at)::text, max(plate)"
        " from reporting.v_fuel_fills where filled_at < now() and plate is not null"
    )
    since, until, plate = cursor.fetchall()[0]
    about = {"since": since, "until": until, "plate": plate}
    questions = {
        (view, name): question.format(view=view, values=values, **about)
        for view, values in VIEWS.items()
        for name, question in QUESTIONS.items()
    }
    for name in ("whole", "30 days", "one plate"):
        question = QUESTIONS[f"{name}, values"]
        questions["v_fuel_fills", f"{name}, findings"] = question.format(view="v_fuel_fills", values=FINDINGS, **about)
    questions["v_fuel_fills", "latest 100"] = LATEST.format(view="v_fuel_fills")
    return questions


def _ask(cursor: adbc.Cursor, key: Sequence[str], question: str, rounds: int) -> Answer:
    seconds, ratios = [], []
    for _ in range(rounds):
        plain = ask_seconds(cursor, PLAIN)
        seconds.append(ask_seconds(cursor, question))
        ratios.append(seconds[-1] / plain)
    answer = Answer(seconds=statistics.median(seconds), ratio=statistics.median(ratios))
    print(f"{', '.join(key)}: {answer.seconds:.3f} s", file=sys.stderr)
    return answer


def ask_seconds(cursor: adbc.Cursor, statement: str) -> float:
    """How long a statement takes, its rows fetched."""
    started = time.perf_counter()
    cursor.execute(statement)
    cursor.fetchall()
    return time.perf_counter() - started

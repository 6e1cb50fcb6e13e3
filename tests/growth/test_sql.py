"""Every function of the database that reads a text, and every view over it, takes time that grows with the text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

import psutil
import pytest
from postgres.conftest import Session

from .measure import SIZES, grows

PARTS: Final = (
    *("a", " ", "\t", "9", "1,", "-", ".", "'", "/=", "KSH ", "K ", "DEPT ", "A.", "KCA 542Q ", "O", "2026-06-", "C1"),
    *(
        "\u00e9",
        "\u00a0",
        "\uff2b",
        "\ufdfa",
        "a\u0327\u0301",
        "\u0301\u0327",
        "\U0001d160",
        "\u0f73\u0f71",
        "\u1100\u1161\u11a8",
    ),
)
"""Texts repeated: plain, like a number, a time, a plate, a department, and made to be normalised slowly."""

VIEWS: Final = ("v_fuel_fills", "v_fuel_efficiency", "v_fuel_anomalies", "v_ingest_health")


@pytest.fixture
def session(database_uri: str) -> Iterator[Session]:
    opened = Session(database_uri)
    yield opened
    opened.close()


def readers(session: Session) -> list[tuple[str, int]]:
    """Functions of ours that take text and nothing else: call and number of arguments."""
    return session.ask(
        "select format('fuel.%I', p.proname), p.pronargs::bigint from pg_proc as p"
        " where p.pronamespace = 'fuel'::regnamespace and p.prokind = 'f' and p.provolatile <> 'v' and p.pronargs > 0"
        " and not exists (select from unnest(p.proargtypes) as t where t <> 'text'::regtype) order by 1"
    )


def test_reading_a_text_takes_time_that_grows_with_it(session: Session) -> None:
    backend = psutil.Process(session.one("select pg_backend_pid()::bigint"))
    found = readers(session)
    assert len(found) >= 6
    slow = []
    for function, arguments in found:
        for part in PARTS:
            rest = ", 'Africa/Nairobi'" * (arguments - 1)

            def spend(size: int, function: str = function, part: str = part, rest: str = rest) -> float:
                before = backend.cpu_times().user
                session.ask(f"select length({function}(repeat($1, $2::integer){rest})::text)", part, size // len(part))
                return float(backend.cpu_times().user - before)

            if said := grows(spend):
                slow.append(f"{function}({part!r}…): {said}")
    assert not slow, "\n".join(slow)


def test_deriving_a_record_and_reading_the_views_takes_time_that_grows_with_its_texts(session: Session) -> None:
    backend = psutil.Process(session.one("select pg_backend_pid()::bigint"))
    aliases = [alias for (alias,) in session.ask("select alias from fuel.source_field where field <> 'id' order by 1")]
    slow = []
    for part in ("a", " ", "9", "DEPT ", "a\u0327\u0301", "{}", "1,"):

        def spend(size: int, part: str = part) -> float:
            """Two fills of one vehicle, every field of which is that long; then one that is plain."""
            texts = dict.fromkeys(aliases, part * (size // len(aliases) // len(part)))
            longest = part * (size // len(part))
            before = backend.cpu_times().user
            for number, fields in enumerate(
                (
                    texts,
                    texts | {"car": "KCA 542Q", "datetime": "2026-06-10-09-30"},
                    {"driver": longest, "car": longest},
                )
            ):
                session.ask(
                    "insert into fuel.records (id, raw) values ($1::bigint, $2::text::jsonb)"
                    " on conflict (id) do update set raw = excluded.raw returning id",
                    number,
                    json.dumps(fields),
                )
            session.one("select vehicles from fuel.refresh_fill_facts(100)")
            for view in VIEWS:
                session.ask(f"select sum(length(v::text)) from reporting.{view} as v")
            return float(backend.cpu_times().user - before)

        spend(1_000)
        if said := grows(spend, SIZES):
            slow.append(f"{part!r}…: {said}")
    assert not slow, "\n".join(slow)

"""Triggers that make the server take its time, so that something can happen to it meanwhile."""

from __future__ import annotations

from typing import Final

from .conftest import query

DAWDLE: Final = """
    create function fuel.dawdle() returns trigger language plpgsql as $$
    begin perform pg_sleep({}); return null; end $$;
"""
SLOW_MERGE: Final = (
    DAWDLE.format(0.5)
    + """
    create trigger dawdle after insert or update on fuel.records for each row execute function fuel.dawdle();
"""
)
"""The second snapshot writes some thirty rows: a quarter of a minute."""
SLOW_COMMIT: Final = (
    DAWDLE.format(2)
    + """
    create constraint trigger dawdle after insert on fuel.ingest_runs deferrable initially deferred
    for each row execute function fuel.dawdle();
"""
)
"""Two seconds within COMMIT itself."""


def is_sleeping(uri: str) -> bool:
    """Whether such a trigger is at it."""
    return bool(query(uri, "select 1 as x from pg_stat_activity where wait_event = 'PgSleep'"))

"""A year as it is lived: an export and an import each hour, prunes, changes of rules, a dump and its restore, a vacuum.

FLEETFUEL_YEAR_HOURS says how many hours (8760 for a year, an hour or so of work); run it with `-s` to see what it
says at the end: how large each table and index is, what an hour costs, what an hour without changes writes.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import adbc_driver_postgresql.dbapi as adbc
from changes.conftest import Feed, delta, key_of
from table import EVERYTHING, fill

from fleetfuel.packaged import packaged
from fleetfuel.report import prune
from fleetfuel.rules.book import load_rules
from fleetfuel.sandbox.postgres import PostgresServer
from fleetfuel.table.database import connect
from fleetfuel.table.migrate import MigrationReceipt, apply_migrations, plan_migrations

HOURS: Final = int(os.environ.get("FLEETFUEL_YEAR_HOURS", "24"))
START: Final = (datetime.now(UTC) - timedelta(hours=HOURS + 48)).replace(minute=0, second=0, microsecond=0)
FLEET: Final = 200
"""Records that the feed begins with."""
QUIET_WAL: Final = 120_000
"""Bytes that an hour without changes may write: two lines of the ledger, and the pages they are the first to touch."""


class Source:
    """The producer's table, and what it exports."""

    def __init__(self) -> None:
        self.rng = random.Random(7)
        self.rows: dict[int, dict[str, Any]] = {}
        self.last = 0
        for number in range(FLEET):
            self.add(START - timedelta(hours=FLEET - number))

    def add(self, at: datetime) -> dict[str, Any]:
        self.last += 1
        said = {
            "datetime": f"{at:%Y-%m-%d-%H-%M}",
            "car": f"KCA {100 + self.last % 80}Q",
            "odometer": 50_000 + self.last,
        }
        self.rows[self.last] = fill(self.last, liters=30 + self.last % 20, amount=7_000 + self.last, **said)
        return self.rows[self.last]

    def live(self, at: datetime) -> list[dict[str, Any]]:
        """An hour passes; what a change file says of it."""
        rng, said = self.rng, []
        if rng.random() < 0.5:
            said.append(self.add(at))
        if rng.random() < 0.2:
            key = rng.choice(list(self.rows))
            self.rows[key] = {**self.rows[key], "amount": rng.randrange(1_000, 20_000), "updated_at": at.isoformat()}
            said.append(self.rows[key])
        if rng.random() < 0.03:
            del self.rows[rng.choice(list(self.rows))]
        if rng.random() < 0.05:
            said.append({"id": "none", "driver": "nobody"})
        return said


def query(uri: str, statement: str) -> list[dict[str, Any]]:
    with adbc.connect(uri, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        found: list[dict[str, Any]] = cursor.fetch_arrow_table().to_pylist() if cursor.description else []
        return found


def migrate(uri: str, rules: Path | None = None) -> MigrationReceipt:
    with connect(uri) as database:
        return apply_migrations(database, plan_migrations(database, packaged("migrations")), load_rules(rules))


def dump_and_restore(server: PostgresServer, uri: str, folder: Path) -> str:
    """The schema fuel, without its reports, in a database of its own; migrate brings back the reports."""
    name = f"restored_{HOURS}_{os.getpid()}"
    query(server.uri(), f"create database {name}")
    saved = folder / "fuel.dump"
    subprocess.run(
        [server.bin / "pg_dump", "--schema=fuel", "--format=custom", f"--file={saved}", f"--dbname={uri}"], check=True
    )
    restored = server.uri(name)
    subprocess.run([server.bin / "pg_restore", "--exit-on-error", f"--dbname={restored}", saved], check=True)
    said = migrate(restored).restored
    assert said is not None
    assert "view reporting.v_fuel_fills" in said
    return restored


def changed_rules(folder: Path, number: int) -> Path:
    """The shipped rules, with one more spelling of a department."""
    shutil.copytree(packaged("rules"), folder)
    departments = folder / "departments.toml"
    text = departments.read_text(encoding="utf-8")
    assert '"SALE"' in text
    departments.write_text(text.replace('"SALE"', f'"SALE", "SELLING {number}"', 1), encoding="utf-8")
    return folder


def test_a_year_of_hours(feed: Feed, postgres: PostgresServer, tmp_path: Path) -> None:
    source = Source()
    spent: list[float] = []
    began: dict[int, datetime] = {}
    rules: Path | None = None

    def imports() -> None:
        for mode in ("changes", "snapshot"):
            outcome = feed.run(mode=mode, overrides=EVERYTHING)
            assert outcome.exit_code == 0, outcome.run

    def age(hour: int) -> None:
        """Prune what is older than a month or so of these hours."""
        with connect(feed.table.uri) as database:
            database.begin()
            prune.apply_prune(prune.plan_prune(database, feed.settings, began[max(0, hour - HOURS // 6)]), database)

    def restore(_: int) -> None:
        feed.table.uri = dump_and_restore(postgres, feed.table.uri, tmp_path)

    def upgrade(hour: int) -> None:
        nonlocal rules
        rules = changed_rules(tmp_path / f"rules {hour}", hour)
        feed.settings = replace(feed.settings, rules=rules)
        assert migrate(feed.table.uri, rules).rules

    def vacuum(_: int) -> None:
        query(feed.table.uri, "vacuum analyze")

    events: dict[int, Callable[[int], None]] = {
        HOURS // 4: age,
        HOURS // 3: upgrade,
        HOURS // 2: restore,
        HOURS * 2 // 3: upgrade,
        HOURS * 3 // 4: age,
        **{HOURS * part // 8 + 1: vacuum for part in range(1, 8)},
    }
    for hour in range(HOURS):
        at, began[hour] = START + timedelta(hours=hour), datetime.now(UTC)
        feed.put(key_of(at), delta(at, *source.live(at)))
        feed.put_snapshot(at, list(source.rows.values()))
        before = time.process_time()
        imports()
        spent.append(time.process_time() - before)
        if hour in events:
            events[hour](hour)

    uri = feed.table.uri
    stored = query(uri, "select id from fuel.records where absent_since is null and deleted_at is null order by id")
    assert [row["id"] for row in stored] == sorted(source.rows)
    for view in ("v_fuel_fills", "v_fuel_efficiency", "v_fuel_anomalies", "v_ingest_health"):
        query(uri, f"select * from reporting.{view}")

    written = []
    for _ in range(3):
        position = query(uri, "select pg_current_wal_insert_lsn()::text as lsn")[0]["lsn"]
        imports()
        (row,) = query(uri, f"select (pg_current_wal_insert_lsn() - '{position}')::bigint as bytes")
        written.append(row["bytes"])
    assert min(written) < QUIET_WAL

    tenth = max(HOURS // 10, 1)
    first, last = sum(spent[1 : tenth + 1]) / tenth, sum(spent[-tenth:]) / tenth
    print(f"\n{HOURS:,} hours, {len(source.rows):,} records, exported and imported each hour")
    print(f"CPU of an hour: {first:.3f} s at the start, {last:.3f} s at the end, ratio {last / first:.2f}")
    print(f"WAL of an hour without changes: {min(written):,} bytes")
    for row in query(uri, SIZES):
        print(f"{row['name']:<44}{row['rows']:>10,} rows{row['bytes']:>14,} bytes")


SIZES: Final = """
    select c.relname::text as name, greatest(c.reltuples, 0)::bigint as rows, pg_relation_size(c.oid) as bytes
    from pg_class as c
    where c.relnamespace = 'fuel'::regnamespace and c.relkind in ('r', 'i') and pg_relation_size(c.oid) > 16384
    order by bytes desc
"""

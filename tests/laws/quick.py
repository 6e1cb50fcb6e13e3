"""Runs without files: contents go straight through the pipeline, in one database that is emptied between examples."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import adbc_driver_postgresql.dbapi as adbc
import xxhash
from table import EMPTY, EVERYTHING

from fleetfuel import pipeline
from fleetfuel.model.files import Delivery, Reading, SourceFile
from fleetfuel.model.plan import Plan
from fleetfuel.model.table import Table
from fleetfuel.records import values
from fleetfuel.report import summary
from fleetfuel.rules.book import Rules
from fleetfuel.table.database import Database
from fleetfuel.table.state import Now


def examples(number: int) -> int:
    """How many examples a law tries; FLEETFUEL_LAWS multiplies them for a long look."""
    return number * int(os.environ.get("FLEETFUEL_LAWS", "1"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class File:
    """A file of the feed: its content and the time it stands for."""

    at: datetime
    content: bytes
    key: str = "file.json"


class Quick:
    """One database; every run lets everything through."""

    def __init__(self, database: Database, uri: str, rules: Rules) -> None:
        self.database = database
        self.rules = rules
        self._asking = adbc.connect(uri, autocommit=True)
        self._numbers = itertools.count(1)
        self._kept: set[str] = set()

    def close(self) -> None:
        self._asking.close()

    def ask(self, statement: str, *parameters: object) -> list[dict[str, Any]]:
        with self._asking.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            found: list[dict[str, Any]] = cursor.fetch_arrow_table().to_pylist()
            return found

    def ask_again(self, statement: str) -> list[dict[str, Any]]:
        """The same as `ask`, for what is asked very often: the server keeps its plan, as views take long to plan."""
        name = f"asked_{xxhash.xxh3_64_hexdigest(statement.encode())}"
        with self._asking.cursor() as cursor:
            if name not in self._kept:
                cursor.executescript(f"prepare {name} as {statement}")
                self._kept.add(name)
        with self._asking.cursor(adbc_stmt_kwargs={"adbc.postgresql.use_copy": "false"}) as cursor:
            cursor.execute(f"execute {name}")
            found: list[dict[str, Any]] = cursor.fetch_arrow_table().to_pylist()
            return found

    def edit(self, statement: str) -> None:
        """What somebody does by hand."""
        with self._asking.cursor() as cursor:
            cursor.executescript(statement)

    def reset(self) -> None:
        self.database.rollback()
        with self._asking.cursor() as cursor:
            cursor.executescript(EMPTY)

    def plan(
        self, files: Sequence[File], reading: Reading, *, forced: bool = False, table: Table | None = None
    ) -> Plan:
        """A plan against the table as it stands, in a transaction of its own, or against `table`."""
        run = pipeline.Run(
            run_id=f"run {next(self._numbers)}",
            mode="file",
            started_at=datetime.now(UTC),
            zone=values.EAST_AFRICA,
            rules=self.rules,
            overrides=dataclasses.replace(EVERYTHING, force_old_snapshot=forced),
        )
        delivery = Delivery(reading=reading, source="law", files=tuple(map(source_file, files)))
        if table is None:
            self.database.begin("repeatable read")
        return pipeline.plan_import(delivery, table or Now(self.database), run)

    def apply(self, files: Sequence[File], reading: Reading, *, forced: bool = False) -> Plan:
        plan = self.plan(files, reading, forced=forced)
        assert not plan.guards, plan.guards
        self.write(plan)
        return plan

    def write(self, plan: Plan) -> None:
        """Apply a plan just made."""
        pipeline.apply(plan, summary.summarise(plan), self.database)

    def live(self) -> dict[int, Any]:
        """Id → raw of the live rows."""
        found = self.ask(
            "select id, raw::text as raw from fuel.records"
            " where deleted_at is null and absent_since is null order by id"
        )
        return {row["id"]: exact(row["raw"]) for row in found}

    def stamps(self) -> list[dict[str, Any]]:
        """Every row with what a run that changes nothing may not touch."""
        return self.ask("select id, xmin::text as version from fuel.records order by id")


def exact(text: str | bytes) -> Any:
    """JSON with its numbers digit for digit."""
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


def source_file(file: File) -> SourceFile:
    return SourceFile(
        key=file.key,
        etag=xxhash.xxh3_64_hexdigest(file.content),
        size=len(file.content),
        modified_at=file.at,
        key_at=None,
        content=memoryview(file.content),
    )

"""Files that chance has damaged never crash a run, never lose a record unaccounted for, and never delete by accident.

FLEETFUEL_FUZZ_SEED picks another seed, FLEETFUEL_FUZZ multiplies the mutants.
"""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any, Final, NoReturn
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from table import EVERYTHING, NOON, Row, Table, balance

from fleetfuel import errors, pipeline
from fleetfuel.model.files import Delivery, Reading, SourceFile
from fleetfuel.model.records import Cut
from fleetfuel.plan.limits import Overrides
from fleetfuel.records import envelope, judge
from fleetfuel.records.places import FeedTexts
from fleetfuel.records.rows import index_records, read_rows
from fleetfuel.report import summary
from fleetfuel.rules.book import Rules, load_rules
from fleetfuel.table import database
from fleetfuel.table.state import Now

from .mutants import mutants, small_changes, small_snapshots

SEED: Final = int(os.environ.get("FLEETFUEL_FUZZ_SEED", "20260611"))
TIMES: Final = float(os.environ.get("FLEETFUEL_FUZZ", "1"))
CUT: Final = int(21_000 * TIMES)
"""Mutants that are cut, read and judged."""
RUN: Final = int(250 * TIMES)
"""Mutants of each kind that go through a whole run."""
BATCH: Final = 500
EAT: Final = ZoneInfo("Africa/Nairobi")


def source_file(content: bytes, number: int = 0) -> SourceFile:
    return SourceFile(
        key=f"mutant {number}.json",
        etag=f"{number}",
        size=len(content),
        modified_at=NOON + timedelta(seconds=number),
        key_at=None,
        content=memoryview(content),
    )


class Finding(AssertionError):
    """What a mutant brought to light."""


def found(folder: Path, content: bytes, what: object) -> NoReturn:
    """Keep the mutant and say how to meet it again."""
    path = folder / "mutant.json"
    path.write_bytes(content)
    raise Finding(f"seed {SEED}: {what}\nthe mutant is in {path}")


@pytest.fixture(autouse=True)
def _seed_is_printed() -> None:
    print(f"FLEETFUEL_FUZZ_SEED={SEED} FLEETFUEL_FUZZ={TIMES:g}")


# --- cut, read, judged --------------------------------------------------------------------------------------------


def test_every_element_of_a_damaged_file_is_accounted_for(table: Table, tmp_path: Path) -> None:
    rules = load_rules()
    files = [*small_snapshots(), *small_changes()]
    sound = {bytes(text) for content in files for text in envelope.cut_file(source_file(content), EAT).records}
    stream = mutants(random.Random(SEED), files)
    cut_up = elements = bad = 0
    for _ in range(0, CUT, BATCH):
        batch = list(islice(stream, BATCH))
        cuts = [cut for content in batch if (cut := cut_or_refuse(content, tmp_path)) is not None]
        accepted, refused = account_for(cuts, rules, tmp_path)
        cut_up, elements, bad = (
            cut_up + len(cuts),
            elements + sum(len(cut.records) for cut in cuts),
            bad + refused,
        )
        texts = sorted({text for text in accepted if text not in sound})
        refuses = [texts[number] for number in refused_by_jsonb(table, texts)]
        if refuses:
            found(tmp_path, refuses[0], f"accepted, and jsonb refuses {refuses[0][:200]!r}")
    print(f"{CUT} mutants: {cut_up} cut into {elements} elements, {bad} of them rejected")
    assert cut_up > CUT // 10
    assert bad > CUT // 10


def cut_or_refuse(content: bytes, folder: Path) -> Cut | None:
    try:
        return envelope.cut_file(source_file(content), EAT)
    except errors.BadInput:
        return None
    except Exception as error:
        found(folder, content, f"cutting it raised {error!r}")


def account_for(cuts: Sequence[Cut], rules: Rules, folder: Path) -> tuple[list[bytes], int]:
    """The accepted texts of cuts that are read together, and how many of their elements are rejected."""
    try:
        return _account_for(cuts, rules)
    except Exception:
        for cut in cuts:
            try:
                _account_for([cut], rules)
            except Exception as error:
                found(folder, bytes(cut.file.content), repr(error))
        raise


def _account_for(cuts: Sequence[Cut], rules: Rules) -> tuple[list[bytes], int]:
    index = pl.concat([index_records(cut, number) for number, cut in enumerate(cuts)])
    rows = read_rows(index, cuts, rules, EAT, 0)
    verdict = judge.validate_rows(rows.typed, rules)
    accepted = list(verdict.accepted.select("file", "position").iter_rows())
    refused = [
        *rows.rejected.select("file", "position").iter_rows(),
        *verdict.rejected.select("file", "position").iter_rows(),
    ]
    reported = sorted([*accepted, *refused, *rows.markers])
    assert reported == list(index.select("file", "position").iter_rows())
    assert verdict.accepted["id"].null_count() == 0
    named = {*rows.typed.select("file", "id").iter_rows(), *rows.rejected.select("file", "id").iter_rows()}
    for number, cut in enumerate(cuts):
        lost = {key for key in legible_ids(bytes(cut.file.content)) if (number, key) not in named}
        if lost and len(cuts) > 1:
            _account_for([cut], rules)
        else:
            assert lost <= {*rows.legible_ids}, f"the ids {lost} can be read, and none of the elements has them"
    texts = FeedTexts([cut.records for cut in cuts], rows.unwrapped)
    return [texts.text(file, position) for file, position in accepted], len(refused)


BEGINNING: Final = re.compile(rb'\{\s*"id":\s*"?\s*([0-9]{1,9})(?:\.0)?\s*"?\s*,')


def legible_ids(content: bytes) -> list[int]:
    """Ids that anybody would read in a file: of the records whose beginning is as it was."""
    return [int(key) for key in BEGINNING.findall(content)]


def refused_by_jsonb(table: Table, texts: Sequence[bytes]) -> list[int]:
    """Which of the texts PostgreSQL does not take."""
    numbers = json.dumps([text.decode() for text in texts]).replace("'", "''")
    rows = table.query(
        f"select n - 1 as n from jsonb_array_elements_text('{numbers}') with ordinality as each (text, n)"
        " where not pg_input_is_valid(text, 'jsonb') order by n"
    )
    return [row["n"] for row in rows]


# --- the whole run ------------------------------------------------------------------------------------------------


@contextmanager
def connection(table: Table) -> Iterator[database.Database]:
    with database.connect(table.uri) as opened:
        yield opened


def run_mutant(
    content: bytes, number: int, reading: Reading, opened: database.Database, rules: Rules
) -> dict[str, Any] | None:
    """The run's object, applied or refused by a guard; None for a file that is refused."""
    run = pipeline.Run(
        run_id=f"mutant-{reading}-{number}",
        mode="file",
        started_at=NOON + timedelta(days=1),
        zone=EAT,
        rules=rules,
        # A mutant may claim a later time than the files after it.
        overrides=replace(EVERYTHING, force_old_snapshot=True) if number % 4 else Overrides(),
    )
    delivery = Delivery(reading=reading, source="mutant", files=(source_file(content, number),))
    opened.begin("repeatable read")
    try:
        plan = pipeline.plan_import(delivery, Now(opened), run)
    except errors.BadInput:
        return None
    shown = summary.summarise(plan)
    if not plan.guards:
        pipeline.apply(plan, shown, opened)
    return summary.as_object(shown) | {"applied": not plan.guards}


def marks(table: Table) -> dict[int, Row]:
    rows = table.query(
        "select id, run_id, deleted_at, absent_since, xmin::text as version, (raw #>> '{}') is not null as is_stored"
        " from fuel.records"
    )
    return {row["id"]: row for row in rows}


@pytest.mark.parametrize("reading", ["snapshot", "changes"])
def test_a_run_over_a_damaged_file_does_what_its_ledger_says(reading: Reading, table: Table, tmp_path: Path) -> None:
    rules = load_rules()
    files = small_snapshots()[:5] if reading == "snapshot" else [*small_changes(), *small_snapshots()[:2]]
    table.load(small_snapshots()[0], reading="changes")
    outcomes = {"applied": 0, "guarded": 0, "refused": 0, "absent": 0}
    before = marks(table)
    with connection(table) as opened:
        for number, content in enumerate(islice(mutants(random.Random(SEED + 1), files), RUN)):
            try:
                run = run_mutant(content, number, reading, opened, rules)
            except Exception as error:
                found(tmp_path, content, f"running it raised {error!r}")
            after = marks(table)
            try:
                if run is None or not run["applied"]:
                    assert after == before
                    outcomes["refused" if run is None else "guarded"] += 1
                else:
                    check_run(table, run, content, reading, before, after)
                    outcomes["applied"] += 1
                    outcomes["absent"] += run["counts"]["soft_deletes_absent"]
            except AssertionError as error:
                found(tmp_path, content, f"number {number}: {error}")
            before = after
    print(f"{RUN} mutants read as {reading}: {outcomes}")
    assert outcomes["applied"] > RUN // 8


def check_run(
    table: Table,
    run: Mapping[str, Any],
    content: bytes,
    reading: Reading,
    before: Mapping[int, Row],
    after: Mapping[int, Row],
) -> None:
    counts = run["counts"]
    balance(counts)
    assert before.keys() <= after.keys()
    assert len(after) - len(before) == counts["inserts"]
    absent = [key for key in before if not before[key]["absent_since"] and after[key]["absent_since"]]
    assert absent == [] or reading == "snapshot"
    legible = legible_ids(content)
    wiped = [key for key in absent if key in legible]
    assert not wiped, f"marked absent, and yet in the file: {wiped}"
    was_live = [key for key in absent if not before[key]["deleted_at"]]
    assert len(was_live) == counts["soft_deletes_absent"]
    touched = sum(row["run_id"] == run["run_id"] for row in after.values())
    marked = len(absent) - len(was_live)
    written = sum(counts[name] for name in ("inserts", "updates", "restores", "soft_deletes"))
    assert touched == written + marked
    [line] = table.query(
        f"select counts::text as counts, status from fuel.ingest_runs where run_id = '{run['run_id']}'"
    )
    assert (json.loads(line["counts"]), line["status"]) == (counts, "applied")
    rejects = table.query(f"select count(*) as n from fuel.rejects where last_run_id = '{run['run_id']}'")
    assert (rejects[0]["n"] > 0) == (counts["rejected"] > 0)
    assert rejects[0]["n"] <= counts["rejected"]

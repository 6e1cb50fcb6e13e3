"""A merge that does something else than planned is caught before it is committed."""

from __future__ import annotations

from pathlib import Path

import pytest
from table import spoken

from fleetfuel.table.statements import named_sql

from .conftest import Ground, Tally, administer
from .footprint import take_footprint


def edited(statement: str, before: str, after: str) -> dict[str, str]:
    text = named_sql(statement)
    assert text.count(before) == 1, text
    return {statement: text.replace(before, after)}


INSERT, WRITE, REFRESH = "merge_inserts", "merge_writes", "merge_refreshes"
STAGED = "where s.id = r.id and s.action = $2"
NEW = "where action = 'insert'"
FINGERPRINT = "set fingerprint = s.fingerprint"
BROKEN_SQL = {
    "a row is left out": edited(INSERT, NEW, f"{NEW} and id <> (select max(id) from fuel_stage)"),
    "a row too many is written": edited(WRITE, STAGED, "where (s.id = r.id or r.id = 1) and s.action = $2"),
    "a row too many is inserted": edited(
        INSERT, NEW, f"{NEW} union all select -1, '{{}}', null, null, now(), null, null, null, $1"
    ),
    "values are not taken over": edited(WRITE, "coalesce(s.raw, r.raw)", "r.raw"),
    "an absence is not taken over": edited(WRITE, "absent_since = s.absent_since,", ""),
    "the place is not taken over": edited(WRITE, "source_key = s.source_key,", "source_key = 'elsewhere',"),
    "the time is not taken over": edited(WRITE, "source_at = s.source_at,", ""),
    "the newest change is not noted": edited(WRITE, "change_at = s.change_at,", "change_at = now(),"),
    "the run is not noted": edited(WRITE, "run_id = $1,", "run_id = left($1, 3),"),
    "the change is not stamped": edited(WRITE, "last_changed_at = now()", "last_changed_at = r.last_changed_at"),
    "a refresh stamps a change": edited(REFRESH, FINGERPRINT, f"{FINGERPRINT}, last_changed_at = now()"),
    "another fingerprint is kept": edited(REFRESH, FINGERPRINT, "set fingerprint = null"),
    "a refresh only counts": {REFRESH: "select count(*) as rows from fuel_stage where action = $1"},
    "a mark is not set": edited("merge_marks", "absent_since = s.absent_since", "absent_since = null"),
}

TRIGGER = "create trigger zz_broken {} on fuel.records for each row execute function fuel.broken();"
FUNCTION = "create function fuel.broken() returns trigger language plpgsql as $$ begin {} end $$;"
BROKEN_TRIGGERS = {
    "a trigger drops a row": FUNCTION.format("if new.id % 2 = 0 then return null; end if; return new;")
    + TRIGGER.format("before insert or update"),
    "a trigger changes a value": FUNCTION.format("new.raw := new.raw || '{\"liters\": 1}'; return new;")
    + TRIGGER.format("before insert or update"),
    "a trigger writes another row": FUNCTION.format(
        "update fuel.records set source_key = 'touched' where id = 1; return null;"
    )
    + TRIGGER.format("after insert"),
    "a trigger removes another row": FUNCTION.format("delete from fuel.records where id = 1; return null;")
    + TRIGGER.format("after insert"),
    "the history is not kept": "create rule broken as on insert to fuel.record_versions do instead nothing;",
    "the history loses a row": "create rule broken as on insert to fuel.record_versions "
    "where new.id % 2 = 0 do instead nothing;",
    "a deletion is undone": FUNCTION.format("new.deleted_at := null; return new;") + TRIGGER.format("before update"),
}


@pytest.mark.parametrize("fault", BROKEN_SQL)
def test_a_broken_statement_is_caught(ground: Ground, tally: Tally, tmp_path: Path, fault: str) -> None:
    uri = ground.reset()
    check_caught(ground, uri, tmp_path, BROKEN_SQL[fault])
    tally.add("faults tried")


@pytest.mark.parametrize("fault", BROKEN_TRIGGERS)
def test_a_broken_trigger_is_caught(ground: Ground, tally: Tally, tmp_path: Path, fault: str) -> None:
    with ground.database() as uri:
        administer(ground.server, BROKEN_TRIGGERS[fault], uri)
        check_caught(ground, uri, tmp_path, {})
        tally.add("faults tried")


def check_caught(ground: Ground, uri: str, folder: Path, sql: dict[str, str]) -> None:
    program = ground.forks.start(folder / "1", ground.argv, database=uri, sql=sql)
    assert program.wait() == 70, (program.err, program.seen)
    assert spoken(program.err).startswith("fleetfuel: The load did not do what the plan said ("), program.err
    assert len(program.said) == 2
    assert take_footprint(uri) == ground.before


def test_a_second_attempt_is_proved_by_its_own_counts(ground: Ground, tally: Tally, tmp_path: Path) -> None:
    """What the first attempt wrote and rolled back does not count."""
    uri = ground.reset()
    key = max(row["id"] for row in ground.once.tables["records"])
    program = ground.forks.start(tmp_path / "1", ground.argv, database=uri, stops=["sql merge_refreshes"])
    program.reach("sql merge_refreshes")
    refreshed = next(
        row["id"]
        for row, old in zip(ground.once.tables["records"], ground.before.tables["records"], strict=False)
        if row["fingerprint"] != old["fingerprint"] and row["run_id"] == "run 1"
    )
    assert refreshed != key
    administer(ground.server, f"update fuel.records set source_key = 'mine' where id = {refreshed}", uri)
    program.go_on()
    assert program.wait() == 0, program.err
    assert program.seen.count("sql merge_inserts") == 2
    tally.add("faults tried")

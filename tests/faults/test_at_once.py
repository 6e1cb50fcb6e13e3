"""Several at once: one works, the others say so at once or wait; and whoever else writes is never overwritten."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import adbc_driver_postgresql.dbapi as adbc

from fleetfuel.sandbox.store import object_store
from fleetfuel.settings import Settings

from .conftest import Ground, Tally, administer, query, until
from .feed import write_changes
from .footprint import take_footprint
from .program import Program

ROWS: Final = """
    select id, raw::text as raw, deleted_at is null and absent_since is null as is_live from fuel.records order by id
"""


def check_turned_away(program: Program) -> None:
    assert program.wait() == 75, program.err
    assert program.said[0].startswith("fleetfuel: Another fleetfuel run holds the lock (since 20"), program.err
    assert "--wait SECONDS" in program.said[1]


def test_two_imports_at_once(ground: Ground, tally: Tally, tmp_path: Path) -> None:
    """At every step but the first, and the last, of one, another is turned away."""
    for step in ("state", "report", "batch", "commit"):
        uri = ground.reset()
        first = ground.forks.start(tmp_path / step / "1", ground.argv, database=uri, stops=[step])
        first.reach(step)
        second = ground.forks.start(tmp_path / step / "2", ground.argv, database=uri)
        check_turned_away(second)
        assert "fetch" not in second.seen
        first.go_on()
        assert first.wait() == 0, first.err
        tally.add("faults tried")
        assert take_footprint(uri) == ground.once


def test_a_second_import_waits(ground: Ground, tally: Tally, tmp_path: Path) -> None:
    """What it then finds is what the first one left: it is not a second time that it loads it."""
    uri = ground.reset()
    first = ground.forks.start(tmp_path / "1", ground.argv, database=uri, stops=["commit"])
    first.reach("commit")
    second = ground.forks.start(tmp_path / "2", [*ground.argv, "--wait", "60"], database=uri)
    second.reach("sql take_lock", times=3)
    first.go_on()
    assert (first.wait(), second.wait()) == (0, 0), (first.err, second.err)
    tally.add("faults tried")
    assert take_footprint(uri) == ground.twice


def test_a_second_import_waits_in_vain(ground: Ground, tally: Tally, tmp_path: Path) -> None:
    uri = ground.reset()
    first = ground.forks.start(tmp_path / "1", ground.argv, database=uri, stops=["state"])
    first.reach("state")
    second = ground.forks.start(tmp_path / "2", [*ground.argv, "--wait", "0.5"], database=uri)
    check_turned_away(second)
    assert second.seen.count("sql take_lock") > 1
    first.go_on()
    assert first.wait() == 0, first.err
    tally.add("faults tried")


def test_twenty_at_once(ground: Ground, tally: Tally, tmp_path: Path) -> None:
    uri = ground.reset()
    programs = [
        ground.forks.start(tmp_path / str(number), ground.argv, database=uri, steps=False) for number in range(20)
    ]
    codes = [program.wait() for program in programs]
    tally.add("faults tried")
    assert {*codes} <= {0, 75}, [program.err for program in programs]
    assert codes.count(0) >= 1
    for program in programs:
        if program.wait() == 75:
            check_turned_away(program)
    # Those that came when the first was done loaded nothing, but said so in the ledger.
    found = take_footprint(uri)
    assert len(found.run_ids) == 1 + codes.count(0)
    assert found.tables["records"] == ground.once.tables["records"]
    assert found.tables["record_versions"] == ground.once.tables["record_versions"]


def test_twenty_wait_for_each_other(ground: Ground, tally: Tally, tmp_path: Path) -> None:
    uri = ground.reset()
    programs = [
        ground.forks.start(tmp_path / str(number), [*ground.argv, "--wait", "300"], database=uri, steps=False)
        for number in range(20)
    ]
    assert [program.wait() for program in programs] == [0] * 20
    tally.add("faults tried")
    found = take_footprint(uri)
    assert len(found.run_ids) == 21
    assert found.tables["records"] == ground.once.tables["records"]
    assert found.tables["record_versions"] == ground.once.tables["record_versions"]


def test_snapshot_and_changes_at_once(ground: Ground, tally: Tally, tmp_path: Path) -> None:
    """Whichever comes first, the rows are the same in the end."""
    delta = write_changes(tmp_path)
    changes = ["import", "--file", str(delta), "--apply"]
    ends: list[list[dict[str, Any]]] = []
    for order in ((ground.argv, changes), (changes, ground.argv)):
        uri = ground.reset()
        folder = tmp_path / str(len(ends))
        first = ground.forks.start(folder / "1", order[0], database=uri, stops=["commit"])
        first.reach("commit")
        check_turned_away(ground.forks.start(folder / "2", order[1], database=uri))
        waiting = ground.forks.start(folder / "3", [*order[1], "--wait", "60"], database=uri)
        waiting.reach("sql take_lock")
        first.go_on()
        assert (first.wait(), waiting.wait()) == (0, 0), (first.err, waiting.err)
        tally.add("faults tried")
        ends.append(query(uri, ROWS))  # fmt: skip
    assert ends[0] == ends[1]


def test_snapshot_and_changes_from_a_bucket_at_once(ground: Ground, tally: Tally, tmp_path: Path) -> None:
    import boto3
    from botocore.config import Config

    uri = ground.reset()
    with object_store() as store:
        client = boto3.session.Session().client(
            "s3",
            endpoint_url=store.endpoint,
            aws_access_key_id=store.access_key,
            aws_secret_access_key=store.secret_key,
            region_name=store.region,
            config=Config(s3={"addressing_style": "path"}),
        )
        settings = replace(Settings(), endpoint=store.endpoint)
        client.create_bucket(Bucket=settings.bucket)
        client.put_object(Bucket=settings.bucket, Key="fuel_records/latest.json", Body=ground.following.read_bytes())
        client.put_object(
            Bucket=settings.bucket,
            Key="fuel_records/changes/2026-06-08T04-00-00.000Z.json",
            Body=write_changes(tmp_path).read_bytes(),
        )
        environment = {
            "RUSTFS_ENDPOINT": store.endpoint,
            "RUSTFS_ACCESS_KEY": store.access_key,
            "RUSTFS_SECRET_KEY": store.secret_key,
            "RUSTFS_REGION": store.region,
        }

        def start(name: str, *argv: str, stops: tuple[str, ...] = ()) -> Program:
            return ground.forks.start(
                tmp_path / name, ["import", "--apply", *argv], database=uri, stops=stops, environment=environment
            )

        changes = start("changes", "--changes", stops=("commit",))
        changes.reach("commit")
        check_turned_away(start("snapshot", "--snapshot"))
        waiting = start("waiting", "--snapshot", "--wait", "60")
        waiting.reach("sql take_lock")
        changes.go_on()
        assert (changes.wait(), waiting.wait()) == (0, 0), (changes.err, waiting.err)
        again = start("again", "--changes")
        assert again.wait() == 0, again.err
        tally.add("faults tried")
    found = query(uri, ROWS)
    alone = ground.reset()
    assert ground.forks.start(tmp_path / "alone", ground.argv, database=alone).wait() == 0
    assert found == query(alone, ROWS)


def test_import_and_migrate_at_once(ground: Ground, tally: Tally, tmp_path: Path) -> None:
    uri = ground.reset()
    running = ground.forks.start(tmp_path / "1", ground.argv, database=uri, stops=["commit"])
    running.reach("commit")
    check_turned_away(ground.forks.start(tmp_path / "2", ["migrate", "--wait", "0"], database=uri))
    waiting = ground.forks.start(tmp_path / "3", ["migrate"], database=uri)
    waiting.reach("sql take_lock", times=2)
    running.go_on()
    assert (running.wait(), waiting.wait()) == (0, 0), (running.err, waiting.err)
    assert take_footprint(uri) == ground.once

    uri = ground.reset()
    migrating = ground.forks.start(tmp_path / "4", ["migrate"], database=uri, stops=["sql record_rules_state"])
    migrating.reach("sql record_rules_state")
    check_turned_away(ground.forks.start(tmp_path / "5", ground.argv, database=uri))
    migrating.go_on()
    assert migrating.wait() == 0, migrating.err
    tally.add("faults tried", 2)


# --- somebody else writes fuel.records ----------------------------------------------------------------------------


def updated_id(ground: Ground) -> int:
    """A record that the second snapshot changes."""
    replaced = {row["id"] for row in ground.once.tables["record_versions"]}
    before = {row["id"]: row["raw"] for row in ground.before.tables["records"]}
    return next(
        int(row["id"])
        for row in ground.once.tables["records"]
        if row["id"] in replaced and row["raw"] != before[row["id"]]
    )


def test_a_row_edited_between_plan_and_merge(ground: Ground, tally: Tally, tmp_path: Path) -> None:
    """The run is planned again: the edit is overwritten by the feed's newer word, and kept in the history."""
    uri = ground.reset()
    key = updated_id(ground)
    program = ground.forks.start(tmp_path / "1", ground.argv, database=uri, stops=["apply"])
    program.reach("apply")
    administer(
        ground.server, f'update fuel.records set raw = raw || \'{{"driver": "Zuri Jua"}}\' where id = {key}', uri
    )
    program.go_on()
    assert program.wait() == 0, program.err
    tally.add("faults tried")
    assert program.seen.count("state") == 2
    assert program.said == ["warning: somebody else wrote the same rows; planning again (2 of 3)"]
    found = take_footprint(uri)
    assert [row["raw"] for row in found.tables["records"]] == [row["raw"] for row in ground.once.tables["records"]]
    kept = [row for row in found.tables["record_versions"] if row["id"] == key]
    assert [row["replaced_by_run"] for row in kept] == [None, "run 2"]
    assert '"Zuri Jua"' in kept[1]["raw"]


def test_a_row_inserted_between_plan_and_merge(ground: Ground, tally: Tally, tmp_path: Path) -> None:
    uri = ground.reset()
    key = max(row["id"] for row in ground.once.tables["records"])
    program = ground.forks.start(tmp_path / "1", ground.argv, database=uri, stops=["apply"])
    program.reach("apply")
    administer(
        ground.server, f"insert into fuel.records (id, raw, source_at) values ({key}, '{{}}', '2026-01-01')", uri
    )
    program.go_on()
    assert program.wait() == 0, program.err
    tally.add("faults tried")
    assert program.seen.count("state") == 2
    found = take_footprint(uri)
    assert [row["raw"] for row in found.tables["records"]] == [row["raw"] for row in ground.once.tables["records"]]


def test_a_row_edited_that_the_run_does_not_touch(ground: Ground, tally: Tally, tmp_path: Path) -> None:
    """Both stand; the next snapshot sees that the row is not the feed's, and heals it."""
    uri = ground.reset()
    touched = {row["id"] for row in ground.once.tables["records"] if row["run_id"] == "run 2"}
    key = next(
        row["id"] for row in ground.before.tables["records"] if row["id"] not in touched and row["deleted_at"] is None
    )
    program = ground.forks.start(tmp_path / "1", ground.argv, database=uri, stops=["apply"])
    program.reach("apply")
    administer(
        ground.server, f'update fuel.records set raw = raw || \'{{"driver": "Zuri Jua"}}\' where id = {key}', uri
    )
    program.go_on()
    assert program.wait() == 0, program.err
    tally.add("faults tried")
    assert program.seen.count("state") == 1
    assert query(uri, f"select raw ->> 'driver' as driver from fuel.records where id = {key}") == [
        {"driver": "Zuri Jua"}
    ]
    again = ground.forks.start(tmp_path / "2", ground.argv, database=uri)
    assert again.wait() == 0, again.err
    found = take_footprint(uri)
    assert [row["raw"] for row in found.tables["records"]] == [row["raw"] for row in ground.once.tables["records"]]


def test_somebody_who_keeps_editing(ground: Ground, tally: Tally, tmp_path: Path) -> None:
    """After three attempts the run gives up; all the edits stand."""
    with ground.database() as uri:
        key = updated_id(ground)
        program = ground.forks.start(tmp_path / "1", ground.argv, database=uri, stops=["apply"] * 3)
        for attempt in (1, 2, 3):
            program.reach("apply", times=attempt)
            administer(
                ground.server,
                f"update fuel.records set driver = driver, source_key = '{attempt}' where id = {key}",
                uri,
            )
            program.go_on()
        assert program.wait() == 75, program.err
        tally.add("faults tried")
        assert "tried 3 times" in program.err
        assert query(uri, f"select source_key from fuel.records where id = {key}") == [{"source_key": "3"}]
        assert len(take_footprint(uri).run_ids) == 1


def test_somebody_who_does_not_commit(ground: Ground, tally: Tally, tmp_path: Path) -> None:
    """The merge waits for a row, and goes on when it is let go."""
    uri = ground.reset()
    key = updated_id(ground)
    with adbc.connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute(f"update fuel.records set source_key = 'mine' where id = {key}")
        program = ground.forks.start(tmp_path / "1", ground.argv, database=uri)
        until(lambda: bool(query(uri, "select 1 as x from pg_locks where not granted")))
        assert program.is_running
        connection.rollback()
    assert program.wait() == 0, program.err
    tally.add("faults tried")
    assert take_footprint(uri) == ground.once

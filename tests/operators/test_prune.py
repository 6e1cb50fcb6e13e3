"""Prune removes what is older than the age and nothing that a later run, or the last evidence, needs."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fleetfuel.sandbox.postgres import PostgresServer
from fleetfuel.sandbox.store import ObjectStore

from .stage import Stage, create_database

TABLES = ("record_versions", "rejects", "ingest_runs", "ingest_files")


def rows(stage: Stage) -> dict[str, int]:
    counted = ", ".join(f"(select count(*) from fuel.{table}) as {table}" for table in TABLES)
    found: dict[str, int] = stage.sql(f"select {counted}")[0]
    return found


def age(stage: Stage, days: int) -> None:
    """Everything that happened so far happened that much earlier."""
    gone = f"- interval '{days} days'"
    stage.sql(f"update fuel.record_versions set replaced_at = replaced_at {gone}")
    stage.sql(f"update fuel.rejects set resolved_at = resolved_at {gone}, last_seen_at = last_seen_at {gone}")
    stage.sql(f"update fuel.ingest_runs set started_at = started_at {gone}, finished_at = finished_at {gone}")
    stage.sql(f"update fuel.ingest_files set processed_at = processed_at {gone}")
    for plan in (stage.folder / "reports").glob("*/plan.json"):
        run = json.loads(plan.read_text())
        plan.write_text(json.dumps(run | {"started_at": "2020-01-01T00:00:00Z"}))


@pytest.fixture(scope="module")
def long_ago(tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer, store: ObjectStore) -> Stage:
    """A snapshot and three change files, two hundred days ago; the last file bears a time that is still to come."""
    url = postgres.uri(create_database(postgres, "template1"))
    stage = Stage(folder=tmp_path_factory.mktemp("long_ago"), url=url, store=store)
    stage.done("migrate")
    stage.snapshot()
    stage.done("import", "--snapshot", "--apply")
    for _ in range(2):
        stage.changes(edits=2)
        stage.done("import", "--changes", "--apply")
    stage.producer.advance(1, fills=0, edits=2, soft_deletes=0, hard_deletes=0, resends=0)
    key = f"fuel_records/changes/{datetime.now(UTC) + timedelta(days=10):%Y-%m-%dT%H:%M:%SZ}.json"
    stage.put((key, stage.producer.changes()[1]))
    stage.done("import", "--changes", "--apply")
    age(stage, 200)
    return stage


@pytest.fixture
def old(long_ago: Stage, tmp_path: Path, postgres: PostgresServer) -> Stage:
    """A copy of it, to prune."""
    folder = Path(shutil.copytree(long_ago.folder, tmp_path / "work"))
    url = postgres.uri(create_database(postgres, long_ago.url.rpartition("/")[2]))
    return Stage(folder=folder, url=url, store=long_ago.store, bucket=long_ago.bucket, producer=long_ago.producer)


def test_a_dry_run_counts_and_removes_nothing(old: Stage) -> None:
    before = rows(old)
    said = old.done("prune", "--older-than", "90d").out
    assert "nothing removed" in said
    assert "Next    fleetfuel prune --older-than 90d --apply" in said
    assert rows(old) == before
    assert len([*(old.folder / "reports").iterdir()]) == 4


def test_applied_it_removes_what_the_dry_run_counted(old: Stage) -> None:
    before, said = rows(old), old.done("prune", "--older-than", "90d").out
    counted = [line.split("  ")[1:3] for line in said.splitlines() if line.startswith("  ")]
    done = old.done("prune", "--older-than", "90d", "--apply").out
    assert [line.split("  ")[1:3] for line in done.splitlines() if line.startswith("  ")] == counted
    after = rows(old)
    assert after["record_versions"] == 0 < before["record_versions"]
    assert after["ingest_runs"] == 2
    assert [*(old.folder / "reports").iterdir()] == []
    assert "Nothing is older than 90d." in old.done("prune", "--older-than", "90d", "--apply").out


def test_the_last_run_of_each_mode_stays_whatever_its_age(old: Stage) -> None:
    kept = old.sql("select mode, max(run_id) as run_id from fuel.ingest_runs group by mode order by mode")
    old.done("prune", "--older-than", "1d", "--apply")
    assert old.sql("select mode, run_id from fuel.ingest_runs order by mode") == kept


def test_open_rejects_stay_while_the_snapshot_holds_them_or_they_are_young(old: Stage) -> None:
    """What was seen last in a change file that long ago is nobody's any more."""
    for key, days in (("changes/old.json", 2), ("changes/young.json", 0)):
        old.sql(
            "insert into fuel.rejects (content_hash, rule, reason, content, source_key, position, first_run_id,"
            " last_run_id, last_seen_at) select gen_random_uuid(), rule, reason, content, 'fuel_records/"
            f"{key}', 0, first_run_id, last_run_id, now() - interval '{days} days' from fuel.rejects limit 1"
        )
    old.done("prune", "--older-than", "1d", "--apply")
    left = old.sql("select source_key from fuel.rejects where resolved_at is null order by 1")
    assert [row["source_key"] for row in left] == ["fuel_records/changes/young.json", "fuel_records/latest.json"]
    old.sql("update fuel.rejects set resolved_at = now() - interval '91 days'")
    old.done("prune", "--older-than", "90d", "--apply")
    assert rows(old)["rejects"] == 0


def test_what_changes_mode_looks_back_at_stays_and_it_reads_nothing_twice(old: Stage) -> None:
    """With a look-back of no hours only the file with a time in the future is still looked at."""
    newest = old.sql("select key from fuel.ingest_state where feed = 'changes'")
    old.done("prune", "--older-than", "1d", "--apply")
    assert len(old.sql("select key from fuel.ingest_files where key like '%/changes/%'")) == 3
    old.done("prune", "--older-than", "1d", "--apply", FLEETFUEL_LOOKBACK_HOURS="0")
    assert old.sql("select key from fuel.ingest_files") == newest
    again = old.done("import", "--changes", "--json", FLEETFUEL_LOOKBACK_HOURS="0").json
    assert again["counts"]["records"] == 0


def test_folders_that_are_no_reports_stay(old: Stage) -> None:
    reports = old.folder / "reports"
    strange = {"notes": "notes.txt", "other": "plan.json"}
    for folder, file in strange.items():
        (reports / folder).mkdir()
        (reports / folder / file).write_text("{}")
    outside = old.folder / "elsewhere"
    next(reports.glob("2*")).rename(outside)
    (reports / "link").symlink_to(outside)
    old.done("prune", "--older-than", "90d", "--apply")
    assert {path.name for path in reports.iterdir()} == {*strange, "link"}
    assert (outside / "plan.json").is_file()


def test_young_reports_stay(old: Stage) -> None:
    (old.folder / "a.json").write_text('[{"id": 1}]')
    young = old.done("import", "--file", "a.json", "--json").json["report"]
    old.done("prune", "--older-than", "90d", "--apply")
    assert [path.name for path in (old.folder / "reports").iterdir()] == [Path(young).name]


@pytest.mark.parametrize("given", ["0d", "90", "3h", "-5d", "d", "1e9d"])
def test_an_age_has_to_be_a_day_or_more(stage: Stage, given: str) -> None:
    refused = stage.run("prune", "--older-than", given, "--apply")
    assert refused.code == 64
    assert "is no age of a day or more" in refused.err


def test_it_does_not_prune_next_to_another_run(old: Stage) -> None:
    from fleetfuel.table.database import connect

    with connect(old.url) as other:
        other.take_lock()
        refused = old.run("prune", "--older-than", "90d", "--apply")
    assert refused.code == 75
    assert rows(old)["record_versions"] > 0


def test_what_a_later_program_migrated_is_left_alone(long_ago: Stage) -> None:
    long_ago.sql("insert into fuel.schema_migrations values ('9999_later.sql', 'x', now(), 1)")
    try:
        assert long_ago.run("prune", "--older-than", "90d", "--apply").code == 78
    finally:
        long_ago.sql("delete from fuel.schema_migrations where file = '9999_later.sql'")

"""Doctor says what works, what does not and what to do; its exit code is the worst a run would end with."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from table import NewRole

from fleetfuel.packaged import packaged

from .stage import Finished, Stage


def states(finished: Finished) -> dict[str, str]:
    found = {check["name"]: check["state"] for check in finished.json["checks"]}
    assert len(found) == len(finished.json["checks"])  # one row a name
    return found


def check(finished: Finished, name: str) -> dict[str, Any]:
    [found] = [each for each in finished.json["checks"] if each["name"] == name]
    return dict(found)


def test_all_that_a_run_needs_is_looked_at(lived_in: Stage) -> None:
    found = lived_in.run("doctor", "--json")
    assert found.code == found.json["exit_code"] == 0
    seen = {name: state for name, state in states(found).items() if name != "pump prices"}  # which the day decides
    assert {name for name, state in seen.items() if state == "look"} == {
        *("database", "schema", "devices", "last runs", "changes")
    }
    assert {name: state for name, state in seen.items() if state != "look"} == dict.fromkeys(
        (
            "settings",
            "rules",
            "time zone",
            "database clock",
            "migrations",
            "rights",
            "bucket",
            "bucket clock",
            "snapshot",
            "reports",
            "downloads",
        ),
        "works",
    )
    assert check(found, "last runs")["next_step"].startswith("fleetfuel runs 2")
    assert "superuser" in check(found, "database")["next_step"]
    assert "late" in check(found, "changes")["next_step"]


def test_each_line_has_a_name_a_state_and_what_was_found(lived_in: Stage) -> None:
    lines = lived_in.done("doctor", COLUMNS="60").out.splitlines()
    assert max(map(len, lines)) <= 60
    heads = [line.split() for line in lines if not line.startswith(" ")]
    assert all({"works", "look", "fails"} & set(words[1:3]) for words in heads)
    to_do = [words for words in heads if "works" not in words[1:3]]
    assert sum(line.strip().startswith("→") for line in lines) == len(to_do) > 4


def test_a_fresh_database_needs_migrations(empty_stage: Stage) -> None:
    empty_stage.snapshot()
    found = empty_stage.run("doctor", "--json")
    assert found.code == 78
    assert check(found, "migrations")["next_step"] == "fleetfuel migrate"
    empty_stage.done("migrate")
    assert empty_stage.run("doctor").code == 0


def test_an_edited_ledger_is_reported(stage: Stage) -> None:
    stage.sql("update fuel.schema_migrations set checksum = 'other' where file like '0003%'")
    found = stage.run("doctor", "--quick", "--json")
    assert found.code == 78
    assert "edited since it was applied" in check(found, "migrations")["said"]


def test_rights_that_lack_are_named(stage: Stage, new_role: NewRole) -> None:
    role = "onlooker"
    new_role(stage.url, role, "login password 'reader'")
    stage.sql(f"grant usage on schema fuel to {role}")
    stage.sql(f"grant select on all tables in schema fuel to {role}")
    address = stage.url.rpartition("@")[2]
    found = stage.run("doctor", "--quick", "--json", DATABASE_URL=f"postgresql://{role}:reader@{address}")
    assert found.code == 77
    assert "insert on fuel.records" in check(found, "rights")["said"]
    assert "select on fuel.records" not in check(found, "rights")["said"]


def test_the_role_for_imports_has_every_right(stage: Stage, new_role: NewRole) -> None:
    role = "importer"
    new_role(stage.url, "fuel_ingest", "nologin")
    new_role(stage.url, role, "login password 'importer' in role fuel_ingest")
    stage.done("migrate")
    url = f"postgresql://{role}:importer@{stage.url.rpartition('@')[2]}"
    found = stage.run("doctor", "--quick", "--json", DATABASE_URL=url)
    assert (states(found)["rights"], states(found)["database"], found.code) == ("works", "works", 0)
    stage.snapshot()
    stage.done("import", "--snapshot", "--apply", DATABASE_URL=url)
    refused = stage.run("prune", "--older-than", "90d", "--apply", DATABASE_URL=url)
    assert refused.code == 77
    assert "the schema's owner" in refused.err


def test_devices_are_reported_missing_then_read_then_broken(stage: Stage) -> None:
    """By the next import, whoever runs it; not only by who migrates."""
    assert "does not exist" in check(stage.run("doctor", "--quick", "--json"), "devices")["said"]
    stage.sql("create schema tracksolid")
    stage.sql("create table tracksolid.devices (imei text, vehicle_number text, cost_centre text, assigned_city text)")
    stage.snapshot()
    stage.done("import", "--snapshot", "--apply")
    assert states(stage.run("doctor", "--quick", "--json"))["devices"] == "works"
    stage.sql("alter table tracksolid.devices rename cost_centre to centre")
    assert "no longer gives cost_centre" in stage.done("import", "--snapshot", "--apply").err
    reported = check(stage.run("doctor", "--quick", "--json"), "devices")
    assert reported["state"] == "look"
    assert "no longer gives cost_centre" in reported["said"]
    stage.done("migrate")
    assert states(stage.run("doctor", "--quick", "--json"))["devices"] == "works"


@pytest.mark.parametrize(
    ("changed", "name", "code", "said"),
    [
        ({"DATABASE_URL": "postgresql://someone:pa55word@127.0.0.1:1/x"}, "database", 69, "Connection refused"),
        ({"DATABASE_URL": None}, "settings", 78, "not set: DATABASE_URL"),
        ({"DATABASE_URL": "mysql://u:pa55word@h/x"}, "settings", 78, "DATABASE_URL cannot be used"),
        ({"FLEETFUEL_TIMEZONE": "Nairobi"}, "settings", 78, "'Nairobi' is not a time zone"),
        ({"FLEETFUEL_TIMEZONE": "Europe/Berlin"}, "settings", 78, "the feed's zone is Africa/Nairobi"),
        ({"FLEETFUEL_RULES": "nowhere"}, "rules", 78, "nowhere"),
        ({"FLEETFUEL_REPORTS": "/proc/reports"}, "reports", 73, "cannot be written to"),
        ({"RUSTFS_ENDPOINT": "http://127.0.0.1:1"}, "bucket", 69, "nothing listens on that port"),
        ({"RUSTFS_BUCKET": "no-such-bucket"}, "bucket", 66, "'no-such-bucket' does not exist"),
        ({"RUSTFS_SECRET_KEY": "pa55word"}, "bucket", 77, "does not accept the keys"),
        ({"RUSTFS_PREFIX": "elsewhere/"}, "snapshot", 66, "elsewhere/latest.json does not exist"),
    ],
)
def test_what_does_not_work_has_its_sentence_and_its_exit_code(
    lived_in: Stage, changed: dict[str, str | None], name: str, code: int, said: str
) -> None:
    found = lived_in.run("doctor", "--json", **changed)
    failed = check(found, name)
    assert (found.code, failed["exit_code"], failed["state"]) == (code, code, "fails")
    assert said in failed["said"]
    assert failed["next_step"]
    assert "pa55word" not in found.out + found.err


def test_a_wrong_bucket_is_answered_with_the_ones_there_are(lived_in: Stage) -> None:
    found = lived_in.run("doctor", "--json", RUSTFS_BUCKET="no-such-bucket")
    assert lived_in.bucket in check(found, "bucket")["next_step"]


def test_a_wrong_password_is_a_refused_login_and_never_shown(lived_in: Stage) -> None:
    secret = "corre%63t-horse"
    login, _, address = lived_in.url.rpartition("@")
    wrong = f"{login.rpartition(':')[0]}:{secret}@{address}"
    for arguments in (("doctor",), ("doctor", "--json"), ("runs",), ("import", "--snapshot", "--apply"), ("migrate",)):
        refused = lived_in.run("-v", *arguments, DATABASE_URL=wrong)
        assert refused.code == 77
        assert "authentication failed" in refused.out + refused.err
        assert secret not in refused.out + refused.err
        assert "correct-horse" not in refused.out + refused.err


def test_the_worst_is_what_only_a_person_can_mend(lived_in: Stage) -> None:
    both = lived_in.run("doctor", RUSTFS_ENDPOINT="http://127.0.0.1:1", FLEETFUEL_RULES="nowhere")
    assert both.code == 78


def test_secrets_that_others_can_read_are_worth_a_look(lived_in: Stage) -> None:
    env_file = lived_in.folder / ".env"
    env_file.write_text(f"DATABASE_URL={lived_in.url}\n")
    env_file.chmod(0o644)
    try:
        found = lived_in.run("doctor", "--quick", "--json", DATABASE_URL=None)
        assert check(found, "settings")["next_step"] == "It holds secrets: chmod 600 .env"
        env_file.chmod(0o600)
        assert states(lived_in.run("doctor", "--quick", "--json", DATABASE_URL=None))["settings"] == "works"
    finally:
        env_file.unlink()


@pytest.mark.parametrize(("days_ago", "state"), [(61, "works"), (62, "look")])
def test_until_when_pump_prices_are_known_is_shown(lived_in: Stage, days_ago: int, state: str) -> None:
    """Older than two months, they are worth adding to."""
    until = datetime.now(ZoneInfo("Africa/Nairobi")).date() - timedelta(days=days_ago)
    rules = lived_in.folder / "rules"
    shutil.copytree(packaged("rules"), rules)
    try:
        (rules / "pump_prices.toml").write_text(
            f"[[cycle]]\nvalid_from = {until - timedelta(days=30)}\nvalid_to = {until}\npetrol = 180.00\n"
        )
        found = check(lived_in.run("doctor", "--quick", "--json", FLEETFUEL_RULES="rules"), "pump prices")
    finally:
        shutil.rmtree(rules)
    assert (found["state"], found["said"]) == (state, f"known until {until}")
    assert ("rules/pump_prices.toml" in (found["next_step"] or "")) == (state == "look")


def test_a_feed_that_stopped_is_reported(stage: Stage) -> None:
    stage.put(("fuel_records/latest.json", b"[]"))
    stage.put(("fuel_records/changes/2026-06-01T00-00-00.json", b"[]"))
    found = stage.run("doctor", "--json")
    assert (found.code, states(found)["changes"], states(found)["snapshot"]) == (0, "look", "works")
    assert "days ago, and can be read" in check(found, "changes")["said"]


def test_hours_without_a_change_file_are_named(stage: Stage) -> None:
    hours = [datetime.now(UTC) - timedelta(hours=back) for back in (1, 2, 6)]
    for hour in hours:
        stage.put((f"fuel_records/changes/{hour:%Y-%m-%dT%H:%M:%SZ}.json", b"[]"))
    stage.snapshot()
    found = check(stage.run("doctor", "--json"), "changes")
    assert "no change file for 3 hours between" in found["said"]
    assert found["state"] == "look"


def test_a_poisoned_mark_is_reported_with_the_way_out(stage: Stage) -> None:
    stage.snapshot()
    stage.done("import", "--snapshot", "--apply")
    stage.sql("update fuel.ingest_state set watermark = '2046-01-01' where feed = 'snapshot'")
    found = check(stage.run("doctor", "--quick", "--json"), "mark")
    assert (found["state"], found["next_step"].split(": ")[1]) == ("look", "fleetfuel import --snapshot --apply")

    stage.sql("update fuel.ingest_state set watermark = now(), key = 'other' where feed = 'snapshot'")
    assert stage.run("import", "--snapshot", "--apply").code == 3
    found = check(stage.run("doctor", "--json"), "mark")
    assert (found["state"], "--force-old-snapshot" in found["next_step"]) == ("fails", True)
    stage.done("import", "--snapshot", "--force-old-snapshot", "--deep", "--apply")
    assert not [each for each in stage.run("doctor", "--json").json["checks"] if each["name"] == "mark"]


def test_each_row_has_a_name_of_its_own_also_where_two_things_are_wrong_with_it(stage: Stage) -> None:
    stage.sql("drop view reporting.v_ingest_runs")
    found = stage.run("doctor", "--quick", "--json", FLEETFUEL_REPROTS="x", RUSTFS_BUKET="y")
    assert states(found)["setting names"] == "look"
    schema = check(found, "schema")
    assert (schema["state"], schema["exit_code"]) == ("fails", 78)
    assert "missing: view reporting.v_ingest_runs; it belongs to postgres, a superuser" in schema["said"]
    assert all(name in check(found, "setting names")["said"] for name in ("FLEETFUEL_REPROTS", "RUSTFS_BUKET"))

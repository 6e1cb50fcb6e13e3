"""Did it run, what changed, who changed it, why was this refused: each in one command."""

from __future__ import annotations

import json

import pytest

from .stage import Stage


def test_runs_lists_every_run_that_could_write_with_how_it_ended(lived_in: Stage) -> None:
    listed = lived_in.done("runs").out
    first, _, *lines = listed.splitlines()
    assert first.startswith("The last run ended ")
    assert [line.split()[1:3] for line in lines if not line.startswith(" ")] == [
        ["snapshot", "failed"],
        ["snapshot", "refused"],
        ["snapshot", "applied"],
        ["changes", "applied"],
        ["snapshot", "applied"],
    ]
    assert "exit 3: max_deletes: soft-deletes " in listed
    assert "exit 66: " in listed


def test_runs_can_be_filtered_and_counted(lived_in: Stage) -> None:
    refused = lived_in.done("runs", "--status", "refused", "--json").json
    assert [run["status"] for run in refused] == ["refused"]
    assert refused[0]["counts"]["soft_deletes"] > 700
    assert len(lived_in.done("runs", "--last", "2", "--json").json) == 2


def test_a_run_is_shown_as_its_own_summary_showed_it(lived_in: Stage) -> None:
    refused = lived_in.done("runs", "--status", "refused", "--json").json[0]["run_id"]
    shown = lived_in.done("runs", refused[:-3]).out
    assert shown.startswith(f"{refused} refused, exit 3, ")
    assert lived_in.done("show", f"reports/{refused}").out in shown


def test_a_failed_run_says_why(lived_in: Stage) -> None:
    shown = lived_in.done("runs", "last").out
    assert " failed, exit 66, " in shown
    assert "elsewhere/latest.json does not exist" in shown


@pytest.mark.parametrize(("name", "said"), [("2", "is one of several"), ("nothing", "has none")])
def test_a_run_that_cannot_be_reported_is_an_error(lived_in: Stage, name: str, said: str) -> None:
    missing = lived_in.run("runs", name)
    assert missing.code == 66
    assert said in missing.err
    assert missing.out == ""


def test_a_database_without_runs_says_so(stage: Stage) -> None:
    assert stage.done("runs").out.startswith("No run is in the ledger.")
    assert stage.done("runs", "--status", "failed").out == "No run was failed.\n"
    assert stage.done("rejects", "--open").out == "No open rejected record.\n"


def test_history_tells_who_changed_an_amount_when_and_from_which_file(lived_in: Stage) -> None:
    events = lived_in.done("history", "1200", "--json").json["events"]
    assert [(event["action"], event["by_hand"], event["mode"]) for event in events] == [
        ("inserted", False, "snapshot"),
        ("edited by hand", True, None),
        ("updated", False, "snapshot"),
    ]
    assert {event["role"] for event in events} == {"postgres"}
    assert [event["source_key"] for event in events] == ["fuel_records/latest.json", None, "fuel_records/latest.json"]
    edit, heal = ({change["field"]: change for change in event["changed"]} for event in events[1:])
    assert edit["amount"]["after"] == "1"
    assert heal["amount"]["before"] == "1"
    assert heal["amount"]["after"] == edit["amount"]["before"]


def test_history_of_a_row_removed_by_hand_and_loaded_again(lived_in: Stage) -> None:
    history = lived_in.done("history", "1201", "--json").json
    assert history["state"] == "live"
    assert [event["action"] for event in history["events"]] == ["inserted", "removed from the table", "inserted again"]


def test_history_of_a_soft_deletion_names_the_change_file(lived_in: Stage) -> None:
    record = lived_in.sql(
        "select id from fuel.records where deleted_at is not null order by last_changed_at desc limit 1"
    )
    event = lived_in.done("history", str(record[0]["id"]), "--json").json["events"][-1]
    assert event["action"] == "soft-deleted: marked deleted"
    assert event["source_key"].startswith("fuel_records/changes/")


def test_a_record_nobody_knows_is_an_error(lived_in: Stage) -> None:
    missing = lived_in.run("history", "987654321")
    assert missing.code == 66
    assert "neither in fuel.records nor in its history" in missing.err


def test_personal_values_are_shown_only_if_asked(lived_in: Stage) -> None:
    before = lived_in.sql("select raw ->> 'driver' as driver from fuel.records where id = 1200")[0]["driver"]
    for arguments in (("history", "1200"), ("history", "1200", "--json"), ("rejects",), ("rejects", "--json")):
        said = lived_in.done(*arguments).out
        assert "Nobody Else" not in said
        assert before not in said
    changed = lived_in.done("history", "1200", "--json").json["events"][1]["changed"]
    assert {"field": "driver", "before": None, "after": None, "is_hidden": True} in changed
    assert "driver  (not shown; --personal shows it)" in lived_in.done("history", "1200").out
    assert f'driver  "{before}" → "Nobody Else"' in lived_in.done("history", "1200", "--personal").out


def test_rejects_say_which_rule_which_file_and_where(lived_in: Stage) -> None:
    found = lived_in.done("rejects", "--open", "--json").json
    assert [(row["rule"], row["source_key"], row["times_seen"]) for row in found] == [
        ("id_missing", "fuel_records/latest.json", 2)
    ]
    assert json.loads(found[0]["shown"]) == {"id": None, "car": "KXX 000X", "liters": 5}
    said = lived_in.done("rejects", "--open").out
    assert "1 open rejected record" in said
    assert f"position {found[0]['position']:,}" in said


def test_a_rejected_record_is_shown_without_what_is_personal_or_unknown(stage: Stage) -> None:
    record = {"id": None, "car": "KXX 111X", "driver": "Amani Mto", "phone": "0700", "raw_message": "me"}
    wrapped = {"op": "insert", "row": record}
    (stage.folder / "a.json").write_text(json.dumps([wrapped, "no object", record]))
    stage.done("import", "--file", "a.json", "--apply", "--max-rejects", "100%")
    shown = [row["shown"] for row in stage.done("rejects", "--json").json]
    assert shown[0] in ('{"row": {"id": null, "car": "KXX 111X"}}', '{"id": null, "car": "KXX 111X"}')
    assert shown[1:] == [None, '{"id": null, "car": "KXX 111X"}']
    assert "Amani Mto" in stage.done("rejects", "--personal").out


def test_a_resolved_reject_is_no_longer_open_and_says_who_resolved_it(stage: Stage) -> None:
    (stage.folder / "a.json").write_text('[{"id": 7, "car": "KXX 222X", "liters": 1e999999}]')
    (stage.folder / "b.json").write_text('[{"id": 7, "car": "KXX 222X", "liters": 10}]')
    stage.done("import", "--file", "a.json", "--apply", "--max-rejects", "100%")
    assert [(row["id"], row["rule"]) for row in stage.done("rejects", "--open", "--json").json] == [
        (7, "number_out_of_range")
    ]
    assert "number_out_of_range, record 7, open" in stage.done("history", "7").out
    repair = stage.done("import", "--file", "b.json", "--apply", "--json").json["run_id"]
    assert stage.done("rejects", "--open").out == "No open rejected record.\n"
    assert [row["resolved_by"] for row in stage.done("rejects", "--json").json] == [repair]


def test_commands_read_well_in_sixty_columns(lived_in: Stage) -> None:
    for arguments in (("runs",), ("runs", "last"), ("rejects",), ("history", "1200"), ("prune", "--older-than", "1d")):
        wide = [line for line in lived_in.done(*arguments, COLUMNS="60").out.splitlines() if len(line) > 60]
        assert wide == []

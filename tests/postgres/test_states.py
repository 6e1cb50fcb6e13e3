"""What a run means for one row: each state it may be in, each thing the feed may say, each said twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any, Final

import polars as pl
import pytest
from table import EVERYTHING, NOON, Row, Table, at, balance, envelope, fill, reported

from fleetfuel.model.files import Reading
from fleetfuel.pipeline import Outcome, Request
from fleetfuel.pipeline import run as run_import
from fleetfuel.plan.limits import Allowance, Overrides

GONE: Final = "2026-06-11 10:00:00"
OTHER: Final = fill(100, car="KCB 111A")
"""A row that stays, so that no snapshot is empty."""


# --- the matrix ---------------------------------------------------------------------------------------------------

BOTH: Final = "absent and deleted"
STATES: Final = ("never seen", "live", "deleted", "absent", BOTH)
"""The rows 1 to 5, before."""

EARLIER: Final = [
    [fill(2), fill(3, deleted_at=GONE), fill(4), fill(5, deleted_at=GONE), OTHER],
    [fill(2), fill(3, deleted_at=GONE), OTHER],
]
"""The hourly snapshots that bring the rows there."""

SAID: Final[dict[str, tuple[Reading, Callable[[int], Row | None]]]] = {
    "snapshot: live": ("snapshot", lambda key: fill(key, amount=6800)),
    "snapshot: deleted": ("snapshot", lambda key: fill(key, deleted_at=GONE)),
    "snapshot: absent": ("snapshot", lambda _: None),
    "change: live": ("changes", lambda key: fill(key, amount=6800)),
    "change: deleted_at": ("changes", lambda key: fill(key, deleted_at=GONE)),
    "change: is_deleted": ("changes", lambda key: fill(key, is_deleted=True)),
    "change: delete by key": ("changes", lambda key: {"op": "delete", "id": key}),
    "change: delete with row": ("changes", lambda key: {"op": "delete", "id": key, "row": fill(key, amount=6800)}),
}
"""What the feed may say of a row."""

FLAGGED: Final = "soft_delete_flagged"
ACTIONS: Final = {
    #                            never seen live                  deleted    absent     absent and deleted
    "snapshot: live":           ("insert",  "update",             "restore", "restore", "restore"),
    "snapshot: deleted":        ("insert",  FLAGGED,              None,      "update",  "update"),
    "snapshot: absent":         (None,      "soft_delete_absent", None,      None,      None),
    "change: live":             ("insert",  "update",             "restore", "restore", "restore"),
    "change: deleted_at":       ("insert",  FLAGGED,              None,      "update",  "update"),
    "change: is_deleted":       ("insert",  FLAGGED,              "update",  "update",  "update"),
    "change: delete by key":    ("insert",  FLAGGED,              None,      "update",  None),
    "change: delete with row":  ("insert",  FLAGGED,              "update",  "update",  "update"),
}  # fmt: skip
"""What the feed says → what is done to a row in each of the `STATES`."""

LEAVES: Final = {
    #                            never seen  live       deleted    absent    absent and deleted
    "snapshot: live":           ("live",     "live",    "live",    "live",    "live"),
    "snapshot: deleted":        ("deleted",  "deleted", "deleted", "deleted", "deleted"),
    "snapshot: absent":         ("no row",   "absent",  BOTH,      "absent",  BOTH),
    "change: live":             ("live",     "live",    "live",    "live",    "live"),
    "change: deleted_at":       ("deleted",  "deleted", "deleted", "deleted", "deleted"),
    "change: is_deleted":       ("deleted",  "deleted", "deleted", "deleted", "deleted"),
    "change: delete by key":    ("deleted",  "deleted", "deleted", BOTH,      BOTH),
    "change: delete with row":  ("deleted",  "deleted", "deleted", BOTH,      BOTH),
}  # fmt: skip
"""What the feed says → what a row in each of the `STATES` is afterwards."""


def state_of(row: Row | None) -> str:
    if row is None:
        return "no row"
    marks = [name for name, mark in (("absent", row["absent_since"]), ("deleted", row["deleted_at"])) if mark]
    return " and ".join(marks) or "live"


def actions(outcome: Outcome) -> dict[int, str]:
    """Id → action, from the run's report."""
    changes = pl.read_parquet(Path(outcome.run["report"]) / "changes.parquet")
    return dict(changes.select("id", "action").iter_rows())


@pytest.mark.parametrize("said", SAID)
def test_each_state_meets_each_word_of_the_feed_twice(table: Table, said: str) -> None:
    for hour, earlier in enumerate(EARLIER):
        table.snapshot(earlier, at(hour))
    before = table.rows()
    assert ["never seen", *(state_of(before[key]) for key in (2, 3, 4, 5))] == list(STATES)
    reading, say = SAID[said]
    records = [OTHER, *(record for key in range(1, 6) if (record := say(key)))]

    dry = table.load(envelope(records, at(5)), reading=reading, apply=False, wants_report=True)
    assert table.rows() == before
    done = table.load(envelope(records, at(5)), reading=reading, wants_report=True)
    rows = table.rows()

    assert (dry.error, done.error) == (None, None)
    assert done.run["counts"] == dry.run["counts"]
    balance(done.run["counts"])
    assert actions(done) == actions(dry)
    assert tuple(actions(done).get(key) for key in range(1, 6)) == ACTIONS[said]
    assert tuple(state_of(rows.get(key)) for key in range(1, 6)) == LEAVES[said]
    kept = ("raw", "deleted_at", "absent_since", "first_seen_at", "last_changed_at", "run_id", "fingerprint")
    assert {name: rows[100][name] for name in kept} == {name: before[100][name] for name in kept}
    for key in rows.keys() - {100}:
        _check_identity(rows[key], before.get(key), done, ACTIONS[said][key - 1])
        _check_history(table, rows[key], before.get(key))

    left = table.everything()
    again = table.load(envelope(records, at(5)), reading=reading)
    assert set(reported(again)) <= {"unchanged"}
    assert table.everything() == left


def _check_identity(row: Row, was: Row | None, done: Outcome, action: str | None) -> None:
    if was is None:
        assert row["run_id"] == done.run["run_id"]
        assert row["first_seen_at"] == row["last_changed_at"]
    elif action is None:
        kept = ("raw", "deleted_at", "first_seen_at", "last_changed_at", "source_key")
        assert {name: row[name] for name in kept} == {name: was[name] for name in kept}
    else:
        assert row["first_seen_at"] == was["first_seen_at"]
        assert row["last_changed_at"] > was["last_changed_at"]
        assert row["run_id"] == done.run["run_id"]
        assert row["source_at"] >= was["source_at"]


def _check_history(table: Table, row: Row, was: Row | None) -> None:
    """Whatever raw, deletion or absence a run overwrote is in the history, with the run that did it."""
    marks = ("raw", "deleted_at", "absent_since")
    if was is None or all(row[name] == was[name] for name in marks):
        return
    last = table.query(
        "select raw::text as raw, deleted_at, absent_since, run_id, replaced_by_run from fuel.record_versions "
        f"where id = {row['id']} order by version_id"
    )[-1]
    assert json.loads(last["raw"]) == was["raw"]
    assert (last["deleted_at"], last["absent_since"]) == (was["deleted_at"], was["absent_since"])
    assert (last["run_id"], last["replaced_by_run"]) == (was["run_id"], row["run_id"])


# --- what is stored -----------------------------------------------------------------------------------------------


def test_an_inserted_row_holds_the_record_to_the_letter_and_its_place_in_time(table: Table) -> None:
    table.load(envelope([fill(7, note="ä \U0001f69a", deep={"a": [1, {"b": None}]})], NOON), name="latest.json")
    row = table.row(7)
    assert row["raw"] == fill(7, note="ä \U0001f69a", deep={"a": [1, {"b": None}]})
    assert row["source_at"] == NOON
    assert str(row["source_key"]).endswith("latest.json")
    assert row["fingerprint"] is not None
    assert (row["plate"], row["litres"], row["amount_kes"]) == ("KCA542Q", "40", "7200")


def test_one_id_whatever_type_it_comes_in(table: Table) -> None:
    written = [1, "2", 3.0, " 4 ", "5.0", "006"]
    table.snapshot([fill(key) for key in range(1, 7)], at(0))
    assert table.snapshot([fill(key, amount=1) for key in written], at(1)) == {"updates": 6}
    assert list(table.rows()) == [1, 2, 3, 4, 5, 6]


def test_ids_of_nineteen_digits_keep_every_digit(table: Table) -> None:
    content = b'[{"id": 9007199254740993.0}, {"id": 9007199254740992}, {"id": "9223372036854775807"}, {"id": 1e3}]'
    reported(table.load(content, reading="changes"))
    assert list(table.rows()) == [1000, 9007199254740992, 9007199254740993, 9223372036854775807]


def test_a_fraction_beyond_a_double_is_no_id(table: Table) -> None:
    assert reported(table.load(b'[{"id": 12345678901234567.5}]', reading="changes")) == {"rejected": 1}


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (b'{"id": 1, "amount": 1.10, "note": "\\u00e9"}', "unchanged"),
        (b'{"note": "\xc3\xa9",\n "amount": 1.1, "id": 1}', "unchanged"),
        (b'{"id":1,"amount":11e-1,"note":"\xc3\xa9"}', "unchanged"),
        (b'{"id":1,"note":"x","amount":1.1,"note":"\xc3\xa9"}', "unchanged"),
        (b'{"id":1,"amount":"1.1","note":"\xc3\xa9"}', "updates"),
        (b'{"id":1,"amount":1.1,"note":"\xc3\xa9","more":null}', "updates"),
    ],
)
def test_a_feed_that_is_merely_written_otherwise_is_unchanged(table: Table, text: bytes, count: str) -> None:
    table.load(b'[{"id": 1, "amount": 1.1, "note": "\xc3\xa9"}]')
    before = table.row(1)
    assert reported(table.load(b"[" + text + b"]")) == {count: 1}
    after = table.row(1)
    if count == "unchanged":
        kept = ("raw", "run_id", "first_seen_at", "last_changed_at", "source_at", "source_key")
        assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    left = table.everything()
    table.load(b"[" + text + b"]")
    assert table.everything() == left


# --- order --------------------------------------------------------------------------------------------------------


def own(key: int, hours: float, **fields: object) -> Row:
    """A record with its own updated_at."""
    return fill(key, updated_at=f"{at(hours):%Y-%m-%d %H:%M:%S}", **fields)


def test_a_record_with_an_older_time_of_its_own_is_stale_whatever_the_file_says(table: Table) -> None:
    table.changes([own(1, 3, amount=3)], at(4))
    before = table.row(1)
    assert before["source_at"] == at(3)
    assert table.changes([own(1, 2, amount=2)], at(9)) == {"stale": 1}
    assert table.row(1) == before


def test_a_late_file_of_changes_never_turns_a_row_back(table: Table) -> None:
    table.changes([fill(1, amount=5)], at(5))
    before = table.row(1)
    assert table.changes([fill(1, amount=3)], at(3)) == {"stale": 1}
    assert table.changes([{"op": "delete", "id": 1}], at(4)) == {"stale": 1}
    assert table.row(1) == before


def test_on_a_tie_the_later_arrival_wins(table: Table) -> None:
    table.changes([fill(1, amount=1)], at(1))
    assert table.changes([fill(1, amount=2)], at(1)) == {"updates": 1}
    assert table.row(1)["raw"]["amount"] == 2


def test_of_two_records_with_one_id_the_later_source_time_wins_then_the_position(table: Table) -> None:
    records = [own(1, 2, amount=2), own(1, 1, amount=1), fill(2, amount=1), fill("2", amount=2)]
    assert table.changes(records, at(3)) == {"inserts": 2, "superseded": 2}
    assert [row["raw"]["amount"] for row in table.rows().values()] == [2, 2]


def test_a_snapshot_vouches_for_the_rows_it_found_unchanged(table: Table) -> None:
    table.changes([fill(1, amount=1)], at(1))
    assert table.snapshot([fill(1, amount=1)], at(5)) == {"unchanged": 1}
    assert table.row(1)["source_at"] == at(1)
    assert table.changes([fill(1, amount=3)], at(3)) == {"stale": 1}
    assert table.changes([fill(1, amount=6)], at(6)) == {"updates": 1}


def test_a_change_file_that_finds_a_row_unchanged_shuts_out_what_lies_between(table: Table) -> None:
    table.changes([fill(1, amount=1)], at(1))
    assert table.changes([fill(1, amount=1)], at(5)) == {"unchanged": 1}
    assert table.changes([fill(1, amount=3)], at(3)) == {"stale": 1}
    assert table.row(1)["raw"]["amount"] == 1


def test_an_unchanged_version_seen_again_later_is_noted_once_and_stamps_nothing(table: Table) -> None:
    table.changes([fill(1)], at(1))
    before = table.row(1)
    table.changes([fill(1)], at(5))
    noted = table.row(1)
    assert noted["source_at"] == at(5)
    kept = ("raw", "fingerprint", "run_id", "first_seen_at", "last_changed_at", "source_key")
    assert {name: noted[name] for name in kept} == {name: before[name] for name in kept}
    table.changes([fill(1)], at(5))
    assert table.row(1) == noted


def test_a_late_copy_of_the_same_values_written_otherwise_leaves_the_fingerprint(table: Table) -> None:
    table.snapshot([fill(1)], at(5))
    before = table.everything()
    copy = json.dumps([dict(reversed(fill(1).items()))]).encode()
    assert reported(table.load(copy, reading="changes", name="2026-06-11T13-00-00Z.json")) == {"unchanged": 1}
    assert table.everything() == before


def test_a_row_newer_than_the_snapshot_is_not_absent(table: Table) -> None:
    table.snapshot([fill(1)], at(0))
    table.changes([fill(2)], at(3))
    assert table.snapshot([fill(1)], at(2)) == {"unchanged": 1}
    assert sorted(table.live()) == [1, 2]
    assert table.snapshot([fill(1)], at(3)) == {"unchanged": 1, "soft_deletes": 1, "soft_deletes_absent": 1}


def test_an_unknown_id_in_a_file_older_than_the_snapshot_that_lacks_it_is_stored_as_absent(table: Table) -> None:
    table.snapshot([OTHER], at(5))
    assert table.changes([fill(1)], at(3)) == {"inserts": 1}
    assert table.row(1)["absent_since"] == at(5)
    assert table.snapshot([OTHER, fill(1)], at(6)) == {"unchanged": 1, "restores": 1}
    assert table.row(1)["absent_since"] is None


def test_a_late_change_of_an_absent_row_does_not_bring_it_back(table: Table) -> None:
    table.snapshot([fill(1), OTHER], at(0))
    table.snapshot([OTHER], at(5))
    table.changes([fill(1, amount=1)], at(3))
    assert state_of(table.row(1)) == "absent"


def test_a_usable_time_of_its_own_lies_not_far_after_the_file(table: Table) -> None:
    table.changes([own(1, 24, amount=1), own(2, 200, amount=1)], at(0))
    assert [row["source_at"] for row in table.rows().values()] == [at(24), at(0)]


def test_a_repeated_file_does_not_undo_a_deletion_that_came_after_it(table: Table) -> None:
    table.changes([own(1, 1)], at(2))
    table.changes([{"op": "delete", "id": 1, "row": own(1, 1)}], at(3))
    assert table.changes([own(1, 1)], at(2)) == {"stale": 1}
    assert state_of(table.row(1)) == "deleted"


# --- messages -----------------------------------------------------------------------------------------------------


def test_an_upsert_message_is_the_record_it_carries(table: Table) -> None:
    shapes = product(
        ("op", "operation", "action"), ("insert", "update", "c", "u", "UPDATE"), ("row", "data", "record", "after")
    )
    messages = [{name: word, "id": key, carrier: fill(key)} for key, (name, word, carrier) in enumerate(shapes)]
    assert table.changes(messages) == {"inserts": 60}
    assert table.live() == {key: fill(key) for key in range(60)}
    assert table.snapshot([fill(key) for key in range(60)], at(1)) == {"unchanged": 60}


def test_a_message_may_name_the_id_that_its_record_lacks(table: Table) -> None:
    record = {name: value for name, value in fill(1).items() if name != "id"}
    assert table.changes([{"op": "update", "id": "1", "row": record}]) == {"inserts": 1}
    assert list(table.rows()) == [1]


def test_a_record_with_its_operation_next_to_its_fields_is_a_record(table: Table) -> None:
    table.changes([{"op": "u", **fill(1)}])
    assert table.row(1)["plate"] == "KCA542Q"
    assert table.changes([{"op": "d", **fill(1)}], at(1)) == {"soft_deletes": 1, "soft_deletes_flagged": 1}


@pytest.mark.parametrize("message", [{"op": "delete", "id": 1}, {"action": "d", "before": {"id": 1}}])
def test_a_delete_by_key_keeps_the_values(table: Table, message: Row) -> None:
    table.snapshot([fill(1)], at(0))
    table.changes([message], at(1))
    row = table.row(1)
    assert (row["raw"], row["deleted_at"], row["source_at"]) == (fill(1), at(1), at(1))


def test_a_deletion_after_a_change_in_one_file_keeps_the_changed_values(table: Table) -> None:
    table.snapshot([fill(1)], at(0))
    records = [fill(1, amount=9), {"op": "delete", "id": 1}]
    assert table.changes(records, at(1)) == {"soft_deletes": 1, "soft_deletes_flagged": 1, "superseded": 1}
    assert table.row(1)["raw"]["amount"] == 9
    assert state_of(table.row(1)) == "deleted"


def test_a_delete_of_an_id_never_seen_is_recorded(table: Table) -> None:
    assert table.changes([{"op": "delete", "id": 5}], at(1)) == {"inserts": 1}
    assert table.row(5)["deleted_at"] == at(1)


def test_an_empty_or_zero_deleted_at_means_live(table: Table) -> None:
    marks = ["", None, "  ", "0000-00-00 00:00:00", "1970-01-01 00:00:00", "infinity", False]
    table.snapshot([fill(key, deleted_at=mark) for key, mark in enumerate(marks)])
    assert sorted(table.live()) == list(range(len(marks)))


def test_the_deletion_has_the_instant_the_record_names(table: Table) -> None:
    marks = ["2026-06-11 10:00:00", "2026-06-11T10:00:00.000Z", "2026-06-11T13:00:00+03:00", "2026-06-11-13-00"]
    table.snapshot([fill(key, deleted_at=mark) for key, mark in enumerate(marks)])
    assert [row["deleted_at"] for row in table.rows().values()] == [at(-2)] * 4


def test_a_delete_flag_in_its_spellings(table: Table) -> None:
    yes = [True, 1, "1", "true", "t", " Yes ", 1.0, "TRUE"]
    no = [False, 0, "", "no", None, 2, [1], {"a": 1}, "1 1", "10"]
    table.snapshot([fill(key, is_deleted=flag) for key, flag in enumerate([*yes, *no])])
    assert sorted(table.live()) == list(range(len(yes), len(yes) + len(no)))


def test_markers_are_skipped_and_counted_apart(table: Table) -> None:
    markers: list[object] = [{}, {"success": True}, {"message": "timeout", "error": "E"}]
    outcome = table.load(envelope([fill(1), *markers], NOON))
    assert reported(outcome) == {"inserts": 1, "skipped": 3}
    assert outcome.run["counts"]["records"] == 1


# --- rejected -----------------------------------------------------------------------------------------------------


def test_a_rejected_row_is_present_not_absent(table: Table) -> None:
    table.snapshot([fill(1), fill(2)], at(0))
    before = table.row(1)
    broken = json.dumps(fill(1)).replace("KCA", "K\\u0000CA").encode()
    outcome = table.load(b"[" + broken + b"," + json.dumps(fill(2)).encode() + b"]", name="2026-06-11T14-00Z.json")
    assert reported(outcome) == {"rejected": 1, "unchanged": 1}
    assert table.row(1) == before


REJECTS: Final = (
    "select id, rule, content, times_seen, first_run_id, last_run_id, resolved_at, resolved_by from fuel.rejects"
)


def test_a_record_rejected_again_is_seen_twice_and_resolved_when_it_is_gone(table: Table) -> None:
    bad = fill("twelve")
    first = table.load(envelope([fill(1), bad], at(0)), name="latest.json")
    table.load(envelope([fill(1), bad], at(1)), name="latest.json")
    [reject] = table.query(REJECTS)
    assert (reject["rule"], reject["times_seen"], reject["resolved_at"]) == ("id_unusable", 2, None)
    assert json.loads(reject["content"]) == bad
    assert reject["first_run_id"] == first.run["run_id"] != reject["last_run_id"]

    last = table.load(envelope([fill(1)], at(2)), name="latest.json")
    [reject] = table.query(REJECTS)
    assert reject["resolved_by"] == last.run["run_id"]

    table.load(envelope([fill(1), bad], at(3)), name="latest.json")
    [reject] = table.query(REJECTS)
    assert (reject["times_seen"], reject["resolved_at"]) == (3, None)


def test_a_record_repaired_at_the_source_is_resolved_by_the_run_that_loads_it(table: Table) -> None:
    table.load(b'[{"id": 5, "driver": "\\u0000"}]', reading="changes")
    [reject] = table.query(REJECTS)
    assert (reject["id"], reject["rule"], reject["resolved_by"]) == (5, "nul_character", None)
    done = table.load(envelope([fill(5)], at(1)), reading="changes")
    [reject] = table.query(REJECTS)
    assert reject["resolved_by"] == done.run["run_id"]


def test_strict_loads_what_is_good_and_says_65(table: Table) -> None:
    outcome = table.load(envelope([fill(1), fill(None)], NOON), strict=True)
    assert outcome.exit_code == 65
    assert list(table.live()) == [1]


# --- hands in the table -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "edit",
    [
        "raw = jsonb_set(raw, '{amount}', '1')",
        "raw = '[]'",
        "raw = '5'",
        "deleted_at = now()",
        "absent_since = now() - interval '1 year'",
        "fingerprint = null",
        "raw = raw || '{\"amount\": 1}', deleted_at = now(), absent_since = timestamptz '2026-06-11 12:00Z'",
    ],
)
def test_a_row_edited_by_hand_is_healed_by_the_next_snapshot(table: Table, edit: str) -> None:
    table.snapshot([fill(1), OTHER], at(0))
    before = table.row(1)
    table.write(f"update fuel.records set {edit} where id = 1")
    table.snapshot([fill(1), OTHER], at(1))
    after = table.row(1)
    kept = ("raw", "deleted_at", "absent_since", "fingerprint", "first_seen_at", "plate", "amount_kes")
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    left = table.everything()
    assert table.snapshot([fill(1), OTHER], at(1)) == {"unchanged": 2}
    assert table.everything() == left


def test_a_derived_column_cannot_be_edited_by_hand(table: Table) -> None:
    table.snapshot([fill(1)])
    before = table.row(1)
    table.write("update fuel.records set plate = 'KZZ999Z', litres = 1, amount_kes = null, filled_at = now()")
    assert table.row(1) | {"version": 0} == before | {"version": 0}


def test_a_row_deleted_by_hand_comes_back_with_the_next_snapshot(table: Table) -> None:
    table.snapshot([fill(1), OTHER], at(0))
    table.write("delete from fuel.records where id = 1")
    assert table.snapshot([fill(1), OTHER], at(1)) == {"inserts": 1, "unchanged": 1}


def test_a_row_that_only_somebody_else_wrote_is_absent(table: Table) -> None:
    table.write(
        "insert into fuel.records (id, raw, source_at) values (9, '{\"id\": 9}', timestamptz '2026-06-11 11:00Z')"
    )
    assert table.snapshot([OTHER]) == {"inserts": 1, "soft_deletes": 1, "soft_deletes_absent": 1}


def test_a_row_copied_by_hand_fingerprint_and_all_is_absent(table: Table) -> None:
    table.snapshot([fill(1), fill(2)])
    healthy = table.live()
    table.write(
        "insert into fuel.records (id, raw, fingerprint, source_key, source_at, run_id)"
        " select 3, raw, fingerprint, source_key, source_at, run_id from fuel.records where id = 1"
    )
    reported = table.snapshot([fill(1), fill(2)], at(1))
    assert (reported["unchanged"], reported["soft_deletes_absent"]) == (2, 1)
    assert table.live() == healthy
    assert table.snapshot([fill(1), fill(2)], at(2))["unchanged"] == 2


def test_every_overwritten_raw_is_kept_with_the_run_that_replaced_it(table: Table) -> None:
    runs = [table.load(envelope([fill(1, amount=n)], at(n))).run["run_id"] for n in range(1, 5)]
    versions = table.query(
        "select raw ->> 'amount' as amount, run_id, replaced_by_run from fuel.record_versions order by version_id"
    )
    assert [tuple(version.values()) for version in versions] == [
        ("1", runs[0], runs[1]),
        ("2", runs[1], runs[2]),
        ("3", runs[2], runs[3]),
    ]


# --- guards -------------------------------------------------------------------------------------------------------

MANY: Final = [fill(n) for n in range(1, 101)]

GUARDS: Final[dict[str, tuple[bytes, Overrides]]] = {
    "empty_snapshot": (
        envelope([], at(1)),
        Overrides(max_deletes=Allowance(number=100, is_share=False)),
    ),
    "max_deletes": (
        envelope(MANY[:89], at(1)),
        Overrides(max_deletes=Allowance(number=11, is_share=False)),
    ),
    "max_rejects": (
        envelope(MANY + [fill(None)] * 26, at(1)),
        Overrides(max_rejects=Allowance(number=26, is_share=False)),
    ),
    "max_updates": (
        envelope([fill(n, amount=1) for n in range(1, 52)] + MANY[51:], at(1)),
        Overrides(max_updates=Allowance(number=51, is_share=False)),
    ),
    "old_snapshot": (
        envelope([*MANY, fill(101)], at(-1)),
        Overrides(force_old_snapshot=True),
    ),
}  # fmt: skip


def ledger(table: Table) -> list[Row]:
    return table.query(
        "select run_id, status, exit_code, message, counts::text as counts from fuel.ingest_runs order by finished_at"
    )


@pytest.mark.parametrize("guard", GUARDS)
def test_a_guard_refuses_writes_only_the_ledger_line_and_yields_to_its_override(table: Table, guard: str) -> None:
    content, override = GUARDS[guard]
    table.snapshot(MANY, at(0))
    left, runs = table.everything(), ledger(table)

    dry = table.load(content, apply=False, overrides=Overrides())
    assert (dry.exit_code, dry.run["guards"][0]["code"]) == (3, guard)
    assert ledger(table) == runs

    refused = table.load(content, overrides=Overrides(), wants_report=True)
    assert (refused.exit_code, refused.run["applied"]) == (3, False)
    assert refused.run["counts"] == dry.run["counts"]
    assert table.everything() == left
    assert table.query("select count(*) as n from fuel.ingest_files") == [{"n": 1}]
    [line] = ledger(table)[len(runs) :]
    assert (line["run_id"], line["status"], line["exit_code"]) == (refused.run["run_id"], "refused", 3)
    assert guard in line["message"]
    assert (table.settings.reports / refused.run["run_id"] / "plan.json").is_file()

    through = table.load(content, overrides=override)
    assert (through.exit_code, through.run["applied"]) == (0, True)
    assert through.run["counts"] == dry.run["counts"]


def test_a_snapshot_whose_metadata_announces_another_number_deletes_nothing(table: Table) -> None:
    table.snapshot(MANY, at(0))
    short = envelope(MANY[:95], at(1), record_count=100)
    refused = table.load(short, overrides=Overrides())
    assert [guard["code"] for guard in refused.run["guards"]] == ["count_mismatch"]
    assert len(table.live()) == 100
    assert reported(table.load(short, reading="changes", overrides=Overrides())) == {"unchanged": 95}
    assert len(table.live()) == 100


def test_a_tenth_of_the_rows_may_be_deleted_without_a_word(table: Table) -> None:
    table.snapshot(MANY, at(0))
    assert table.snapshot(MANY[:90], at(1), overrides=Overrides())["soft_deletes"] == 10


def test_small_tables_are_exempt(table: Table) -> None:
    table.snapshot([fill(n) for n in range(9)], at(0))
    assert table.snapshot([fill(1)], at(1), overrides=Overrides())["soft_deletes"] == 8


# --- the ledger ---------------------------------------------------------------------------------------------------


def test_an_applied_run_leaves_its_line_its_file_and_its_mark(table: Table) -> None:
    outcome = table.load(envelope([fill(1)], at(1), record_count=1, source="x"), name="latest.json")
    [run] = table.query(
        "select *, counts::text as counts, summary::text as summary, metadata::text as metadata from fuel.ingest_runs"
    )
    assert (run["run_id"], run["mode"], run["status"], run["exit_code"]) == (
        outcome.run["run_id"],
        "file",
        "applied",
        0,
    )
    assert json.loads(run["counts"]) == outcome.run["counts"]
    assert json.loads(run["summary"])["run_id"] == outcome.run["run_id"]
    assert json.loads(run["metadata"]) == [{"exported_at": "2026-06-11T13:00:00Z", "record_count": 1, "source": "x"}]
    [file] = table.query("select *, counts::text as counts from fuel.ingest_files")
    assert (file["status"], file["records"], file["file_at"], file["run_id"]) == ("applied", 1, at(1), run["run_id"])
    [mark] = table.query("select * from fuel.ingest_state")
    assert (mark["feed"], mark["watermark"], mark["etag"]) == ("snapshot", at(1), file["etag"])


def test_metadata_that_the_ledger_cannot_hold_as_json_is_held_as_text(table: Table) -> None:
    odd = (b'{"note": "\\u0000"}', b'{"size": 1e200000}', b'{"note": "\\ud800"}', b'"\xff"', b'{"size": 1.10}')
    for metadata in odd:
        reported(table.load(b'{"metadata":' + metadata + b',"records":[{"id":1}]}', reading="changes"))
    held = table.query("select metadata::text as metadata from fuel.ingest_runs order by finished_at")
    assert [json.loads(each["metadata"]) for each in held] == [
        ['{"note": "\\u0000"}'],
        ['{"size": 1e200000}'],
        ['{"note": "\\ud800"}'],
        ["\ufffd"] if held[3]["metadata"] == '["\ufffd"]' else ['"\ufffd"'],
        [{"size": 1.1}],
    ]


def test_a_dry_run_leaves_nothing_at_all(table: Table) -> None:
    before = table.everything()
    outcome = table.load(envelope([fill(1), fill(None)], NOON), apply=False)
    assert outcome.run["counts"]["inserts"] == 1
    assert table.everything() == before
    assert ledger(table) == []


# --- records that no reader likes ---------------------------------------------------------------------------------


ODD_VALUES: Final = (
    "1e400",
    "-1e-400",
    "1" * 5000,
    "0." + "1" * 16000,
    "1e131071",
    '"' + "x" * 100_000 + '"',
    "[" * 490 + "]" * 490,
    '{"a":' * 490 + "1" + "}" * 490,
    '"\\ud83d\\ude9a"',
    '"\\\\u0000"',
    '"\x7f\u2028"',
)


def test_odd_values_are_stored_and_seen_again_as_unchanged(table: Table) -> None:
    texts = [f'"id": {key}, "amount": {value}, "odd": {value}' for key, value in enumerate(ODD_VALUES)]

    def written(form: str) -> bytes:
        return b"[" + ",".join(form.replace("?", text) for text in texts).encode() + b"]"

    assert reported(table.load(written("{?}"), reading="changes")) == {"inserts": 11}
    assert reported(table.load(written("{ ? }"), reading="changes")) == {"unchanged": 11}
    assert reported(table.load(written('{?, "more": 1}'), reading="changes")) == {"updates": 11}


UNKEPT: Final = (
    (b'{"id": 1, "a": "\\u0000"}', "nul_character"),
    (b'{"id": 1, "\\u0000": 1}', "nul_character"),
    (b'{"id": 1, "a": "\\ud800"}', "lone_surrogate"),
    (b'{"id": 1, "a": "\\ude00\\ud83d"}', "lone_surrogate"),
    (b'{"id": 1, "a": "\xff"}', "invalid_utf8"),
    (b'{"id": 1, "a": "\xed\xa0\x80"}', "invalid_utf8"),
    (b'{"id": 1, "a": 1e131072}', "number_out_of_range"),
    (b'{"id": 1, "a": 1e-16384}', "number_out_of_range"),
    (b'{"id": 1, "a": 1e99999999999999999999999}', "number_out_of_range"),
    (b'{"id": 1, "a": ' + b"[" * 501 + b"]" * 501 + b"}", "nested_too_deep"),
    (b"5", "not_an_object"),
    (b"null", "not_an_object"),
    (b'[{"id": 1}]', "not_an_object"),
    (b'{"id": null, "car": "x"}', "id_missing"),
    (b'{"car": "x"}', "id_missing"),
    (b'{"id": true}', "id_unusable"),
    (b'{"id": 1.5}', "id_unusable"),
    (b'{"id": "x1"}', "id_unusable"),
    (b'{"id": {"a": 1}}', "id_unusable"),
    (b'{"id": 9223372036854775808}', "id_out_of_range"),
    (b'{"op": "delete"}', "id_missing"),
    (b'{"op": "delete", "id": "\\ud800"}', "lone_surrogate"),
    (b'{"op": "delete", "id": "\xff"}', "invalid_utf8"),
    (b'{"op": "delete", "id": ' + b"1" * 5000 + b"}", "id_out_of_range"),
)


def test_records_that_cannot_be_kept_are_rejected_and_cost_their_neighbours_nothing(table: Table) -> None:
    texts = [json.dumps(fill(7)).encode(), *(text for text, _ in UNKEPT), json.dumps(fill(8)).encode()]
    assert reported(table.load(b"[" + b",".join(texts) + b"]", reading="changes")) == {"inserts": 2, "rejected": 24}
    assert sorted(table.live()) == [7, 8]
    rejects = table.query("select rule, content, content_bytes, position from fuel.rejects order by position")
    assert [reject["position"] for reject in rejects] == list(range(1, 25))
    kept = [(each["content_bytes"] or each["content"].encode(), each["rule"]) for each in rejects]
    assert kept == list(UNKEPT)


def test_of_repeated_keys_the_last_counts_as_in_the_database(table: Table) -> None:
    content = b'[{"id": null, "id": 2, "deleted_at": "2026-06-01", "deleted_at": null}, {"\\u0069d": 3, "id": 4}]'
    assert reported(table.load(content, reading="changes")) == {"inserts": 2}
    assert sorted(table.live()) == [2, 4]
    assert all(row["raw"]["id"] == key for key, row in table.rows().items())


def test_two_runs_never_share_a_request(table: Table) -> None:
    """Several local files are one run, in the order of the instants their names hold."""
    paths = []
    for hour, name in ((2, "2026-06-11T14-00-00Z.json"), (1, "2026-06-11T13-00-00Z.json")):
        path = table.folder / name
        path.write_bytes(json.dumps([fill(1, amount=hour), fill(hour + 10)]).encode())
        paths.append(path)
    request = Request(mode="file", paths=tuple(paths), apply=True, overrides=EVERYTHING, wants_report=False)
    outcome = run_import(request, table.settings, table.uri)
    assert reported(outcome) == {"inserts": 3, "superseded": 1}
    assert table.row(1)["raw"]["amount"] == 2
    files: list[dict[str, Any]] = outcome.run["files"]
    assert [file["counts"] for file in files] == [
        {"records": 2, "inserts": 1, "superseded": 1},
        {"records": 2, "inserts": 2},
    ]

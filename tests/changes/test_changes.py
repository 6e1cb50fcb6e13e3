"""Changes mode: every delta once, in order, whatever happens."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from table import fill

from fleetfuel import errors

from .conftest import START, Feed, delta, key_of

HOUR = timedelta(hours=1)


def counts(outcome: object, *names: str) -> tuple[int, ...]:
    run = outcome.run  # type: ignore[attr-defined]
    return tuple(run["counts"][name] for name in names)


def test_every_file_since_the_watermark_is_read_in_time_order(feed: Feed) -> None:
    for hour in range(6):
        feed.put_changes(START + hour * HOUR, fill(1, amount=hour), fill(10 + hour))

    outcome = feed.run()

    assert feed.read_files(outcome) == [key_of(START + hour * HOUR) for hour in range(6)]
    assert counts(outcome, "records", "inserts", "superseded") == (12, 7, 5)
    assert feed.table.row(1)["raw"]["amount"] == 5
    assert feed.table.row(1)["source_key"].endswith(key_of(START + 5 * HOUR))


def test_the_next_run_reads_only_what_is_new(feed: Feed) -> None:
    feed.put_changes(START, fill(1))
    feed.run()
    before = feed.table.everything()

    again = feed.run()
    assert feed.read_files(again) == []
    assert feed.table.everything() == before

    feed.put_changes(START + HOUR, fill(2))
    assert feed.read_files(feed.run()) == [key_of(START + HOUR)]


def test_a_late_file_is_found_and_never_turns_a_row_back(feed: Feed) -> None:
    feed.put_changes(START, fill(1, amount=1), fill(2, amount=1))
    feed.put_changes(START + 10 * HOUR, fill(1, amount=10))
    feed.run()

    feed.put_changes(START + 5 * HOUR, fill(1, amount=5), fill(2, amount=5), fill(3, amount=5))
    outcome = feed.run()

    assert counts(outcome, "stale", "updates", "inserts") == (1, 1, 1)
    assert [feed.table.row(key)["raw"]["amount"] for key in (1, 2, 3)] == [10, 5, 5]
    [mark] = feed.table.query("select watermark from fuel.ingest_state where feed = 'changes'")
    assert mark["watermark"] == START + 10 * HOUR


def test_a_file_that_was_overwritten_is_read_again(feed: Feed) -> None:
    feed.put_changes(START, fill(1, amount=1))
    feed.put_changes(START + HOUR, fill(2))
    feed.run()

    feed.put(key_of(START), delta(START, fill(1, amount=2), fill(3)))
    outcome = feed.run()

    assert feed.read_files(outcome) == [key_of(START)]
    assert counts(outcome, "updates", "inserts") == (1, 1)
    assert len(feed.table.query(f"select etag from fuel.ingest_files where key like '%{key_of(START)}'")) == 2


def test_a_file_before_the_look_back_is_left_alone_unless_reseeded(feed: Feed) -> None:
    feed.put_changes(START, fill(1))
    feed.run()
    feed.put_changes(START + 100 * HOUR, fill(2))
    feed.run()

    outcome = feed.run(reseed=datetime.min.replace(tzinfo=UTC))
    assert feed.read_files(outcome) == [key_of(START), key_of(START + 100 * HOUR)]
    assert counts(outcome, "unchanged") == (2,)

    assert feed.read_files(feed.run(reseed=START + 50 * HOUR)) == [key_of(START + 100 * HOUR)]


@pytest.mark.parametrize(
    ("message", "is_live", "amount"),
    [
        ({"op": "insert", "id": 1, "row": fill(1, amount=2)}, True, 2),
        ({"op": "u", "after": fill(1, amount=2), "before": fill(1)}, True, 2),
        ({"operation": "update", "id": 1, "data": fill(1, amount=2)}, True, 2),
        ({"action": "c", "record": fill("1", amount=2)}, True, 2),
        ({"op": "delete", "id": 1}, False, 7200),
        ({"op": "d", "id": "1", "before": fill(1, amount=2)}, False, 7200),
        ({"op": "delete", "row": fill(1, amount=2)}, False, 2),
        ({"id": 1, "deleted_at": "2026-01-01 00:30:00"}, False, 7200),
        ({"id": 1, "is_deleted": True}, False, 7200),
        (fill(1, is_deleted=1), False, 7200),
        (fill(1, deleted_at="2026-01-01 00:30:00"), False, 7200),
        (fill(1, deleted_at="", is_deleted=False, amount=2), True, 2),
        (fill(1, deleted_at="0000-00-00 00:00:00", amount=2), True, 2),
    ],
)
def test_a_change_comes_in_many_shapes(feed: Feed, message: dict[str, object], is_live: bool, amount: int) -> None:
    feed.put_changes(START, fill(1))
    feed.run()
    feed.put_changes(START + HOUR, message)
    feed.run()

    row = feed.table.row(1)
    assert (row["deleted_at"] is None) == is_live
    assert row["raw"]["amount"] == amount

    before = feed.table.everything()["records"]
    feed.run(reseed=START + HOUR)
    assert feed.table.everything()["records"] == before


def test_a_delete_keeps_the_values_that_came_just_before_it(feed: Feed) -> None:
    feed.put_changes(START, fill(1, amount=1))
    feed.put_changes(START + HOUR, {"op": "delete", "id": 1})

    outcome = feed.run()

    assert counts(outcome, "inserts", "superseded") == (1, 1)
    row = feed.table.row(1)
    assert row["raw"]["amount"] == 1
    assert row["deleted_at"] == START + HOUR


def test_a_delete_of_an_id_never_seen_is_recorded(feed: Feed) -> None:
    feed.put_changes(START, {"op": "delete", "id": 77})
    feed.run()

    assert feed.table.row(77)["deleted_at"] == START
    assert feed.table.live() == {}

    feed.put_changes(START + HOUR, fill(77))
    assert counts(feed.run(), "restores") == (1,)
    assert list(feed.table.live()) == [77]


def test_hours_without_a_file_are_noticed(feed: Feed) -> None:
    for hour in (0, 1, 5):
        feed.put_changes(START + hour * HOUR, fill(hour))

    remarks = feed.run().run["remarks"]

    assert remarks == ["no change file for 3 hours between 2026-01-01 01:00Z and 2026-01-01 05:00Z"]


def test_a_bad_file_stops_before_it_and_names_the_way_on(feed: Feed) -> None:
    feed.put_changes(START, fill(1))
    feed.put(key_of(START + HOUR), b'{"records": [{"id": 2}')
    feed.put_changes(START + 2 * HOUR, fill(3))

    outcome = feed.run()

    assert isinstance(outcome.error, errors.BadChangeFile)
    assert outcome.exit_code == 65
    assert key_of(START + HOUR) in str(outcome.error)
    assert "--skip-bad-files" in str(outcome.error)
    assert list(feed.table.live()) == [1]
    [run] = feed.table.query("select status, exit_code, message from fuel.ingest_runs")
    assert (run["status"], run["exit_code"]) == ("applied", 65)
    assert key_of(START + HOUR) in run["message"]

    stuck = feed.run()
    assert (stuck.exit_code, list(feed.table.live())) == (65, [1])

    skipped = feed.run(skip_bad_files=True)
    assert (skipped.exit_code, list(feed.table.live())) == (0, [1, 3])
    [file] = feed.table.query("select reason from fuel.ingest_files where status = 'quarantined'")
    assert "it ends too early" in file["reason"]
    assert feed.read_files(feed.run()) == []

    feed.put_changes(START + HOUR, fill(2))
    feed.run()
    assert list(feed.table.live()) == [1, 2, 3]


def test_a_file_of_markers_is_recorded_and_advances_nothing(feed: Feed) -> None:
    feed.put_changes(START, fill(1))
    feed.put(key_of(START + HOUR), json.dumps([{"success": True}, {}]).encode())

    outcome = feed.run()

    assert counts(outcome, "records", "skipped") == (1, 2)
    [mark] = feed.table.query("select watermark from fuel.ingest_state where feed = 'changes'")
    assert mark["watermark"] == START
    files = feed.table.query("select status from fuel.ingest_files order by file_at")
    assert [file["status"] for file in files] == ["applied", "empty"]
    assert feed.read_files(feed.run()) == []


def test_a_dry_run_says_per_file_what_the_apply_does(feed: Feed) -> None:
    feed.put_changes(START, fill(1), fill(2))
    feed.put_changes(START + HOUR, fill(2, amount=1), fill(3))
    before = feed.table.everything()

    dry = feed.run(apply=False)
    assert feed.table.everything() == before
    wet = feed.run()

    assert dry.run["counts"] == wet.run["counts"]
    done = {"planned": "applied"}
    assert [file | {"status": done.get(file["status"], file["status"])} for file in dry.run["files"]] == wet.run[
        "files"
    ]
    assert [file["counts"] for file in dry.run["files"]] == [
        {"records": 2, "inserts": 1, "superseded": 1},
        {"records": 2, "inserts": 2},
    ]


def test_a_guard_refuses_a_catch_up_as_it_refuses_a_snapshot(feed: Feed) -> None:
    feed.put_changes(START, *(fill(key) for key in range(100)))
    feed.run()
    feed.put_changes(START + HOUR, *({"op": "delete", "id": key} for key in range(50)))
    before = feed.table.everything()

    outcome = feed.run()

    assert outcome.exit_code == 3
    assert feed.table.everything() == before
    assert feed.table.query("select status from fuel.ingest_runs where exit_code = 3") == [{"status": "refused"}]


def test_a_snapshot_vouches_for_rows_it_saw_unchanged(feed: Feed) -> None:
    feed.put_changes(START, fill(1, amount=1))
    feed.run()
    feed.put_snapshot(START + 5 * HOUR, [fill(1, amount=1)])
    feed.run(mode="snapshot")

    feed.put_changes(START + 3 * HOUR, fill(1, amount=3))
    outcome = feed.run()

    assert counts(outcome, "stale", "updates") == (1, 0)
    assert feed.table.row(1)["raw"]["amount"] == 1


def test_a_late_file_does_not_bring_back_what_a_snapshot_no_longer_held(feed: Feed) -> None:
    feed.put_snapshot(START + 5 * HOUR, [fill(1)])
    feed.run(mode="snapshot")
    feed.put_changes(START + 3 * HOUR, fill(2))
    feed.put_changes(START + 6 * HOUR, fill(3))

    feed.run()

    assert list(feed.table.live()) == [1, 3]
    assert feed.table.row(2)["absent_since"] == START + 5 * HOUR

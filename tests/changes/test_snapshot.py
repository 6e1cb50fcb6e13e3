"""The hourly job when the snapshot in the bucket is the one applied before."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from table import fill

from fleetfuel.pipeline import Outcome

from .conftest import START, Feed

HOUR = timedelta(hours=1)
RECORDS = [fill(key) for key in range(1, 21)]


def was_read(outcome: Outcome) -> bool:
    """Whether the run had to read the snapshot."""
    return not any("nothing was downloaded" in remark for remark in outcome.run["remarks"])


@pytest.fixture
def applied(feed: Feed) -> Feed:
    """A feed whose snapshot is applied, one record of it rejected."""
    feed.put_snapshot(START, [*RECORDS, {"car": "KCA 542Q", "liters": 4}])
    first = feed.run(mode="snapshot")
    assert was_read(first)
    assert (first.run["counts"]["inserts"], first.run["counts"]["rejected"]) == (20, 1)
    return feed


def test_a_snapshot_applied_before_is_not_downloaded_again(applied: Feed) -> None:
    before = applied.table.everything()

    again = applied.run(mode="snapshot")

    assert not was_read(again)
    reported = {name: number for name, number in again.run["counts"].items() if number}
    assert reported == {"records": 21, "unchanged": 20, "rejected": 1}
    assert applied.table.everything() == before
    runs = applied.table.query("select status, summary ->> 'run_id' as run from fuel.ingest_runs order by started_at")
    assert [run["status"] for run in runs] == ["applied", "applied"]
    assert runs[-1]["run"] == again.run["run_id"]
    assert not was_read(applied.run(mode="snapshot"))


@pytest.mark.parametrize(
    "edit",
    [
        "update fuel.records set raw = raw || '{\"amount\": 1}' where id = 7",
        "update fuel.records set deleted_at = now() where id = 7",
        "update fuel.records set absent_since = now() where id = 7",
        "delete from fuel.records where id = 7",
        "insert into fuel.records (id, raw, source_at) values (99, '{\"id\": 99}', '2020-01-01')",
    ],
)
def test_an_edit_by_hand_is_still_healed(applied: Feed, edit: str) -> None:
    healthy = applied.table.live()
    applied.table.write(edit)
    assert applied.table.live() != healthy

    assert was_read(applied.run(mode="snapshot"))
    assert applied.table.live() == healthy
    assert not was_read(applied.run(mode="snapshot"))


def test_a_change_file_applied_meanwhile_makes_the_next_run_read_the_snapshot(applied: Feed) -> None:
    applied.put_changes(START + HOUR, fill(1, amount=1))
    applied.run()

    outcome = applied.run(mode="snapshot")

    assert was_read(outcome)
    assert outcome.run["counts"]["stale"] == 1
    assert applied.table.row(1)["raw"]["amount"] == 1


def test_skip_unchanged_leaves_an_edit_until_the_snapshot_changes(applied: Feed) -> None:
    applied.table.write("update fuel.records set raw = raw || '{\"amount\": 1}' where id = 7")

    assert not was_read(applied.run(mode="snapshot", skip_unchanged=True))
    assert applied.table.row(7)["raw"]["amount"] == 1

    applied.put_snapshot(START + HOUR, RECORDS)
    assert was_read(applied.run(mode="snapshot", skip_unchanged=True))
    assert applied.table.row(7)["raw"]["amount"] == 7200


@pytest.mark.parametrize("more", [{"apply": False}, {"reading": "changes"}])
def test_a_dry_run_and_another_reading_read_the_file(applied: Feed, more: dict[str, Any]) -> None:
    assert was_read(applied.run(mode="snapshot", **more))


def test_other_rules_read_the_file(applied: Feed, tmp_path: Any) -> None:
    from fleetfuel.packaged import packaged

    rules = tmp_path / "rules"
    rules.mkdir()
    for file in packaged("rules").glob("*.toml"):
        text = file.read_text().replace("max = 500\ngood = [{ liters = 500 }]", "max = 499\ngood = [{ liters = 499 }]")
        (rules / file.name).write_text(text)
    applied.settings = replace(applied.settings, rules=rules)

    before = fingerprints(applied)
    assert was_read(applied.run(mode="snapshot"))
    assert not fingerprints(applied) & before, "a record was taken for one that these rules have judged"
    assert not was_read(applied.run(mode="snapshot"))


def fingerprints(feed: Feed) -> set[str]:
    found = {row["fingerprint"] for row in feed.table.query("select fingerprint::text from fuel.records")}
    assert found
    assert None not in found
    return found

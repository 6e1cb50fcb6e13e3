"""Each guard refuses a whole run with what it saw, its limit and the option that lets exactly this through, once."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner, Result
from table import Row, Table, at, envelope, fill, reported

from fleetfuel.cli.main import cli
from fleetfuel.packaged import packaged

HUNDRED: Final = [fill(key) for key in range(1, 101)]
FOREIGN: Final = fill(None, car="KZZ 999Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A file that a guard refuses, met by a table of 100 live rows."""

    content: bytes
    seen: str
    limit: str
    option: str
    reading: str = "snapshot"
    next: bytes = b""
    """A later file that trips the same guard again; the same file if empty."""


def without(records: list[Row], name: str) -> list[Row]:
    return [{key: value for key, value in record.items() if key != name} for record in records]


GUARDS: Final = {
    "empty_snapshot": Refusal(
        content=envelope([], at(1)),
        seen="the snapshot holds no record, the table 100 live rows",
        limit="a snapshot holds at least one record that can be loaded",
        option="--max-deletes 100",
    ),
    "empty_snapshot of rejects": Refusal(
        content=envelope([FOREIGN] * 5, at(1)),
        seen="the snapshot holds no record but 5 rejected, the table 100 live rows",
        limit="a snapshot holds at least one record that can be loaded",
        option="--max-deletes 100",
    ),
    "max_deletes": Refusal(
        content=envelope(HUNDRED[:89], at(1)),
        seen="soft-deletes 11 of 100 live rows (11.0%)",
        limit="10% (10)",
        option="--max-deletes 11",
        next=envelope(HUNDRED[:70], at(2)),
    ),
    "max_deletes by flag": Refusal(
        content=envelope([{"op": "delete", "id": key} for key in range(1, 12)], at(1)),
        seen="soft-deletes 11 of 100 live rows (11.0%)",
        limit="10% (10)",
        option="--max-deletes 11",
        reading="changes",
        next=envelope([{"op": "delete", "id": key} for key in range(12, 30)], at(2)),
    ),
    "max_rejects": Refusal(
        content=envelope([*HUNDRED, *[FOREIGN] * 26], at(1)),
        seen="rejects 26 of 126 records (20.6%)",
        limit="20% (25)",
        option="--max-rejects 26",
    ),
    "max_updates": Refusal(
        content=envelope([fill(key, amount=6000) for key in range(1, 52)] + HUNDRED[51:], at(1)),
        seen="updates 51 of 100 live rows (51.0%)",
        limit="50% (50)",
        option="--max-updates 51",
        next=envelope([fill(key, amount=5000) for key in range(1, 101)], at(2)),
    ),
    "lost_column": Refusal(
        content=envelope(without(HUNDRED[:25], "odometer"), at(1)),
        seen="no new record has odometer_km, 100% of the stored rows do",
        limit="95% of the stored rows",
        option="--allow-lost-columns",
        reading="changes",
        next=envelope(without(HUNDRED[40:70], "car"), at(2)),
    ),
    "count_mismatch": Refusal(
        content=envelope(HUNDRED[:95], at(1), record_count=100),
        seen="the export announces 100, the file holds 95 records",
        limit="only a complete snapshot deletes what it lacks",
        option="--as changes",
    ),
    "old_snapshot": Refusal(
        content=envelope([*HUNDRED, fill(101)], at(-1)),
        seen="the snapshot is of 2026-06-11 11:00:00Z",
        limit="the last one applied is of 2026-06-11 12:00:00Z",
        option="--force-old-snapshot",
        next=envelope([*HUNDRED, fill(101)], at(-2)),  # the mark went back to the one that was forced
    ),
}  # fmt: skip

Import = Callable[..., Result]


@pytest.fixture
def hundred(table: Table) -> Table:
    """A table of 100 live rows, from a snapshot of noon."""
    assert table.snapshot(HUNDRED, at(0)) == {"inserts": 100}
    return table


@pytest.fixture
def run_cli(table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Import:
    """`fleetfuel import --file …`, as it is typed."""
    monkeypatch.setenv("DATABASE_URL", table.uri)
    monkeypatch.setenv("FLEETFUEL_REPORTS", str(table.settings.reports))

    def run(content: bytes, reading: str, *arguments: str) -> Result:
        path = tmp_path / "typed.json"
        path.write_bytes(content)
        words = ["import", "--file", str(path), "--as", reading, "--json", *arguments]
        return CliRunner().invoke(cli, words, catch_exceptions=False)

    return run


def ledger(table: Table) -> list[Row]:
    return table.query("select run_id, status, exit_code, message from fuel.ingest_runs order by finished_at")


@pytest.mark.parametrize("name", GUARDS)
def test_a_guard_refuses_says_why_and_yields_once(name: str, hundred: Table, run_cli: Import) -> None:
    refusal, code = GUARDS[name], name.split(" ", maxsplit=1)[0]
    left, runs = hundred.everything(), ledger(hundred)

    refused = run_cli(refusal.content, refusal.reading, "--apply")
    run = json.loads(refused.stdout)
    assert (refused.exit_code, run["applied"]) == (3, False)
    guard = next(each for each in run["guards"] if each["code"] == code)
    assert (guard["seen"], guard["limit"]) == (refusal.seen, refusal.limit)
    assert guard["override"].startswith(refusal.option)
    assert f"Refused by {run['guards'][0]['code']}" in refused.stderr
    assert hundred.everything() == left
    [line] = ledger(hundred)[len(runs) :]
    assert (line["run_id"], line["status"], line["exit_code"]) == (run["run_id"], "refused", 3)
    assert f"{code}: {refusal.seen}, limit {refusal.limit}" in line["message"]
    _check_report(Path(run["report"]), run)

    through = run_cli(refusal.content, refusal.reading, "--apply", *shlex.split(refusal.option))
    done = json.loads(through.stdout)
    assert (through.exit_code, done["applied"], done["guards"]) == (0, True, [])
    if code != "count_mismatch":
        assert done["counts"] == run["counts"]

    if code == "empty_snapshot":
        return  # nothing is left that it could protect
    again = run_cli(refusal.next or refusal.content, refusal.reading, "--apply")
    assert again.exit_code == 3
    assert code in [each["code"] for each in json.loads(again.stdout)["guards"]]


def _check_report(folder: Path, run: Mapping[str, Any]) -> None:
    saved = json.loads((folder / "plan.json").read_text())
    assert saved["guards"] == run["guards"]
    assert sorted(path.name for path in folder.glob("*.parquet")) == [
        "changes.parquet",
        "notices.parquet",
        "rejects.parquet",
        "writes.parquet",
    ]


def test_an_option_that_allows_less_refuses_with_both_numbers(hundred: Table, run_cli: Import) -> None:
    refused = run_cli(GUARDS["max_deletes"].content, "snapshot", "--apply", "--max-deletes", "10")
    [guard] = json.loads(refused.stdout)["guards"]
    assert (refused.exit_code, guard["limit"], guard["override"]) == (3, "as given: 10", "--max-deletes 11")
    assert len(hundred.live()) == 100


def test_a_rule_of_severity_stop_refuses_until_it_is_edited(
    hundred: Table, run_cli: Import, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = tmp_path / "rules"
    shutil.copytree(packaged("rules"), rules)
    checks = rules / "checks.toml"
    text = checks.read_text()
    at_car = text.index('code = "car_missing"')
    checks.write_text(text[:at_car] + text[at_car:].replace('severity = "warn"', 'severity = "stop"', 1))
    content = envelope([fill(1, car=None), fill(2)], at(1))
    left = hundred.everything()

    monkeypatch.setenv("FLEETFUEL_RULES", str(rules))
    refused = run_cli(content, "changes", "--apply")
    [guard] = json.loads(refused.stdout)["guards"]
    assert (refused.exit_code, guard["code"]) == (3, "car_missing")
    assert guard["seen"] == "1 record breaks the rule car_missing"
    assert "severity" in guard["override"]
    assert hundred.everything() == left

    monkeypatch.delenv("FLEETFUEL_RULES")
    assert run_cli(content, "changes", "--apply").exit_code == 0


def test_a_row_whose_record_lost_its_id_is_not_absent(hundred: Table) -> None:
    """The record is there under a broken id: all its other values are those of the row."""
    hundred.snapshot([fill(key, raw_message=f"message {key}") for key in range(1, 101)], at(1))
    kept, gone = hundred.row(7), 8
    records = [fill(key, raw_message=f"message {key}") for key in range(1, 101) if key not in (7, gone)]
    reordered = dict(reversed(fill("7a", raw_message="message 7", liters=40.0).items()))
    assert hundred.snapshot([*records, reordered], at(2)) == {
        "unchanged": 98,
        "rejected": 1,
        "soft_deletes": 1,
        "soft_deletes_absent": 1,
    }
    assert hundred.row(7) == kept
    assert hundred.row(gone)["absent_since"] == at(2)
    assert reported(hundred.load(envelope(records, at(3))))["soft_deletes_absent"] == 1
    assert hundred.row(7)["absent_since"] == at(3)

"""A plan that is kept: applied as it was shown, undone, and replayed against the past."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from faults.program import Zygote, zygote
from table import EVERYTHING, Row, Table, at, envelope, fill, reported

from fleetfuel import errors
from fleetfuel.model.files import Reading
from fleetfuel.pipeline import Outcome, Request
from fleetfuel.pipeline import run as run_import
from fleetfuel.plan.limits import Allowance, Overrides
from fleetfuel.report.words import moment

BEFORE = [fill(n) for n in range(1, 21)]
AFTER = [
    *(fill(n) for n in range(1, 15)),
    fill(15, liters=1.10),
    fill(16, deleted_at="2026-06-11 12:30:00"),
    fill(30, driver="Zuri \u00e9"),
    fill("x", car="KDA 717B"),
]
"""An update, a deletion, four that are gone, an insert, a reject."""


def apply(table: Table, report: Any, **options: Any) -> Outcome:
    request = Request(mode="file", apply=True, plan=Path(str(report)), **options)
    return run_import(request, table.settings, table.uri)


def undo(table: Table, run_id: str, *, apply: bool = True, **options: Any) -> Outcome:
    options.setdefault("overrides", EVERYTHING)
    request = Request(mode="undo", apply=apply, undo=run_id, wants_report=not apply, **options)
    return run_import(request, table.settings, table.uri)


def contents(table: Table) -> dict[int, Row]:
    """Every row, without what says who wrote it, and when."""
    left = {"run_id", "last_changed_at", "first_seen_at", "version"}
    return {key: {name: row[name] for name in row if name not in left} for key, row in table.rows().items()}


def history(table: Table) -> list[Row]:
    return table.query("select id, raw::text as raw, deleted_at, absent_since from fuel.record_versions order by id")


def dry(table: Table, content: bytes, **options: Any) -> Outcome:
    return table.load(content, apply=False, wants_report=True, name="after.json", **options)


@pytest.fixture(scope="module")
def forks() -> Iterator[Zygote]:
    with zygote() as started:
        yield started


@pytest.fixture
def held(table: Table) -> Table:
    table.snapshot(BEFORE, at(0), name="before.json")
    return table


# --- apply --------------------------------------------------------------------------------------------------------


def test_a_saved_plan_does_what_the_import_does(held: Table, another_table: Table) -> None:
    other = another_table
    other.snapshot(BEFORE, at(0), name="before.json")
    direct = other.load(envelope(AFTER, at(1)), name="after.json")
    shown = dry(held, envelope(AFTER, at(1)))
    done = apply(held, shown.summary.report)
    assert (done.exit_code, done.summary.applied, done.summary.planned_by) == (0, True, shown.summary.run_id)
    assert done.run["counts"] == direct.run["counts"] == shown.run["counts"]
    mine, theirs = contents(held), contents(other)
    for rows in (mine, theirs):
        for row in rows.values():
            row["source_key"] = Path(row["source_key"]).name
    assert mine == theirs
    assert [row["raw"] for row in history(held)] == [row["raw"] for row in history(other)]
    for what in ("rule, id, content", "times_seen"):
        asked = f"select {what} from fuel.rejects order by 1"
        assert held.query(asked) == other.query(asked)
    for asked in (
        "select status, exit_code, counts::text as counts from fuel.ingest_runs order by finished_at",
        "select feed, watermark, rules_digest from fuel.ingest_state",
    ):
        assert held.query(asked) == other.query(asked)
    [line] = held.query("select plan_run_id, plan_checksum from fuel.ingest_runs order by finished_at desc limit 1")
    assert line == {"plan_run_id": shown.summary.run_id, "plan_checksum": shown.summary.checksum}
    saved = json.loads((Path(str(shown.summary.report)) / "plan.json").read_text())
    assert (saved["applied"], saved["applied_by"], saved["checksum"]) == (
        True,
        done.summary.run_id,
        shown.summary.checksum,
    )


def test_a_plan_is_applied_once(held: Table) -> None:
    shown = dry(held, envelope(AFTER, at(1)))
    done = apply(held, shown.summary.report)
    left = held.everything()
    with pytest.raises(errors.PlanApplied) as refused:
        apply(held, shown.summary.report)
    assert refused.value.exit_code == 4
    assert done.summary.run_id in str(refused.value)
    assert held.everything() == left


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        ("update fuel.records set raw = raw || '{\"amount\": 3}' where id = 15", "1 row it would write"),
        (
            "delete from fuel.records where id in (15, 16)",
            "2 rows it would write are no longer what it saw (id 15, 16)",
        ),
        ("insert into fuel.records (id, raw) values (30, '{\"id\": 30}')", "(id 30)"),
        ("update fuel.records set deleted_at = now() where id = 20", "(id 20)"),
    ],
)
def test_a_plan_whose_rows_moved_is_refused(held: Table, edit: str, said: str) -> None:
    shown = dry(held, envelope(AFTER, at(1)))
    held.write(edit)
    left = held.everything()
    with pytest.raises(errors.PlanNoLongerFits) as refused:
        apply(held, shown.summary.report)
    assert refused.value.exit_code == 4
    assert said in str(refused.value)
    assert held.everything() == left


def test_other_rows_and_other_hours_do_not_matter(held: Table) -> None:
    shown = dry(held, envelope([fill(15, liters=2), fill(30, driver="Zuri \u00e9")], at(1)), reading="changes")
    held.write("update fuel.records set raw = raw || '{\"amount\": 3}' where id = 2")
    held.changes([fill(3, amount=5)], at(0.9), name="other.json")
    assert apply(held, shown.summary.report).exit_code == 0
    assert held.row(30)["raw"]["driver"] == "Zuri \u00e9"


def test_a_plan_older_than_the_last_snapshot_is_refused(held: Table) -> None:
    shown = dry(held, envelope(AFTER, at(1)))
    newer = held.load(envelope(BEFORE, at(2)), name="newer.json")
    with pytest.raises(errors.PlanNoLongerFits, match=newer.summary.run_id):
        apply(held, shown.summary.report)


def test_a_plan_made_under_other_rules_is_refused(held: Table, tmp_path: Path) -> None:
    from fleetfuel.packaged import packaged

    shown = dry(held, envelope(AFTER, at(1)))
    rules = tmp_path / "rules"
    rules.mkdir()
    for file in packaged("rules").iterdir():
        if file.name.endswith(".toml"):
            (rules / file.name).write_text(file.read_text())
    (rules / "guards.toml").write_text(
        (rules / "guards.toml").read_text().replace("share = 0.1", "share = 0.2", 1) + "\n"
    )
    held.settings = replace(held.settings, rules=rules)
    with pytest.raises(errors.PlanNoLongerFits, match=r"guards\.toml"):
        apply(held, shown.summary.report)


@pytest.mark.parametrize("name", ["changes.parquet", "rejects.parquet", "writes.parquet", "writes.json", "plan.json"])
def test_a_damaged_or_edited_report_is_reported_by_its_file(held: Table, name: str) -> None:
    folder = Path(str(dry(held, envelope(AFTER, at(1))).summary.report))
    whole = (folder / name).read_bytes()
    for broken in (
        whole[: len(whole) // 2],
        b"",
        whole.replace(b"insert", b"inserf", 1).replace(b'"inserts": 1', b'"inserts": 2'),
    ):
        if broken == whole:
            continue
        (folder / name).write_bytes(broken)
        with pytest.raises(errors.BadInput) as refused:
            apply(held, folder)
        assert refused.value.exit_code == 65
        assert str(folder / name) in str(refused.value)
    (folder / name).unlink()
    with pytest.raises((errors.BadInput, errors.SourceNotFound)):
        apply(held, folder)
    (folder / name).write_bytes(whole)
    assert apply(held, folder).exit_code == 0


@pytest.mark.parametrize(
    "name", ["changes.parquet", "rejects.parquet", "notices.parquet", "writes.parquet", "writes.json"]
)
def test_a_file_of_another_plan_is_reported_by_its_name(held: Table, name: str) -> None:
    folder, other = (
        Path(str(dry(held, envelope(list_, at(1))).summary.report)) for list_ in (AFTER, [*AFTER, fill(31)])
    )
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes((other / name).read_bytes())
    with pytest.raises(errors.DamagedReport, match=re.escape(str(folder / name))):
        apply(held, folder)
    (folder / name).write_bytes(whole)
    sums = subprocess.run(
        ["sha256sum", "--check", "SHA256SUMS"], cwd=folder, check=True, capture_output=True, text=True
    )
    assert sums.stdout.count(": OK") == 5
    (folder / "SHA256SUMS").unlink()
    assert apply(held, folder).exit_code == 0


def test_a_plan_of_a_later_release_is_refused(held: Table) -> None:
    path = Path(str(dry(held, envelope(AFTER, at(1))).summary.report)) / "plan.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99, "version": "9.0", "counts": []}))
    with pytest.raises(errors.PlanNoLongerFits, match=r"fleetfuel 9\.0"):
        apply(held, path.parent)


def test_a_guard_that_refused_the_plan_wants_its_option(held: Table) -> None:
    shown = dry(held, envelope(BEFORE[:5], at(1)), overrides=Overrides())
    assert shown.exit_code == 3
    refused = apply(held, shown.summary.report)
    assert (refused.exit_code, refused.summary.applied) == (3, False)
    assert (
        apply(
            held, shown.summary.report, overrides=Overrides(max_deletes=Allowance(number=14, is_share=False))
        ).exit_code
        == 3
    )
    enough = Overrides(max_deletes=Allowance(number=15, is_share=False))
    assert apply(held, shown.summary.report, overrides=enough).exit_code == 0
    assert len(held.live()) == 5


# --- undo ---------------------------------------------------------------------------------------------------------


def test_an_undo_gives_back_what_was_and_a_redo_what_was_undone(held: Table) -> None:
    before = contents(held)
    run_id = held.load(envelope(AFTER, at(1)), name="after.json").summary.run_id
    after = contents(held)
    marks = "select feed, watermark from fuel.ingest_state"
    mark = held.query(marks)
    shown = undo(held, run_id, apply=False)
    assert reported(shown) == {"updates": 1, "restores": 5, "soft_deletes": 1, "soft_deletes_absent": 1}
    assert contents(held) == after
    assert f"the mark of the snapshot goes back to {moment(at(0))}" in shown.run["remarks"]
    done = undo(held, run_id)
    assert done.run["counts"] == shown.run["counts"]
    back = contents(held)
    assert back.pop(30)["absent_since"] is not None
    assert back == before
    assert held.query(marks) == [{"feed": "snapshot", "watermark": at(0)}]
    with pytest.raises(errors.CannotUndo, match=done.summary.run_id):
        undo(held, run_id)
    redo = undo(held, done.summary.run_id)
    again = contents(held)
    for rows in (again, after):
        rows[30] = {**rows[30], "fingerprint": None}
    assert again == after
    assert held.query(marks) == mark
    assert undo(held, redo.summary.run_id).exit_code == 0
    assert set(held.live()) == set(before)


def test_rows_written_since_are_conflicts(held: Table) -> None:
    run_id = held.load(envelope(AFTER, at(1)), name="after.json").summary.run_id
    held.write("update fuel.records set raw = raw || '{\"amount\": 3}' where id = 15")
    left = held.everything()
    shown = undo(held, run_id, apply=False)
    assert (shown.exit_code, shown.summary.conflicts) == (4, 1)
    with pytest.raises(errors.UndoConflicts):
        undo(held, run_id)
    assert held.everything() == left
    done = undo(held, run_id, skip_conflicts=True)
    assert (done.exit_code, done.summary.conflicts) == (0, 1)
    assert held.row(15)["raw"]["amount"] == 3
    assert held.row(16)["deleted_at"] is None


def test_what_was_undone_is_not_applied_again_until_the_list_differs(held: Table) -> None:
    run_id = held.load(envelope(AFTER, at(1)), name="after.json").summary.run_id
    undo(held, run_id)
    hour = held.load(envelope(list(reversed(AFTER)), at(2), note="stamped anew"), name="latest.json")
    assert (hour.exit_code, [guard.code for guard in hour.summary.guards]) == (3, ["undone_source"])
    other = held.load(envelope([*AFTER, fill(31)], at(3)), name="latest.json")
    assert other.exit_code == 0
    assert held.row(31)["absent_since"] is None


def backwards(record: Row) -> str:
    """The same record as another writer of JSON would write it."""
    fields = {"liters": "{:.3f}", "amount": "{:.1e}"}
    pairs = [
        f"{json.dumps(name)}:{fields[name].format(value) if name in fields and value == 1.1 else json.dumps(value)}"
        for name, value in reversed(record.items())
    ]
    return "{" + " ,\n".join(pairs) + "}"


def test_a_list_written_otherwise_is_the_same_list(held: Table, forks: Zygote) -> None:
    def imported(name: str, content: str, *words: str) -> tuple[int, list[str]]:
        path = held.folder / name
        path.write_text(content)
        given = ["import", "--json", "--no-report", *words, "--file", str(path)]
        program = forks.start(held.folder / f"run of {name}{len(words)}", given, database=held.uri, steps=False)
        code = program.wait()
        return code, [guard["code"] for guard in json.loads(program.out or program.err)["guards"]]

    whole = ["--as", "snapshot", *(f"--max-{what}=100%" for what in ("deletes", "rejects", "updates"))]
    run_id = held.load(envelope(AFTER, at(1)), name="after.json").summary.run_id
    undo(held, run_id)
    left = held.everything()
    stamp = f'"metadata": {{"exported_at": "{at(2).isoformat()}"}}'
    same = f'{{{stamp}, "records": [{", ".join(map(backwards, reversed(AFTER)))}]}}'
    for words in (whole, [*whole, "--apply"]):
        assert imported("same.json", same, *words) == (3, ["undone_source"])
    assert held.everything() == left
    fixed = [*AFTER[:14], fill(15, liters=1.25), *AFTER[15:]]
    other = f'{{{stamp}, "records": [{", ".join(map(backwards, fixed))}]}}'
    assert imported("other.json", other, *whole, "--apply") == (0, [])
    assert held.row(15)["raw"]["liters"] == 1.25


SAID = [fill(3, liters=1.10), fill(40), {**fill(4), "deleted_at": "2026-06-11 12:30:00"}]


@pytest.mark.parametrize(
    ("records", "is_held"),
    [
        (list(map(backwards, SAID)), True),
        ([json.dumps({"op": "update", "id": each["id"], "row": each}) for each in SAID], True),
        ([json.dumps({**each, "liters": 1.1 if each["id"] == 3 else each["liters"]}, indent=1) for each in SAID], True),
        (list(map(backwards, [*SAID, fill(5)])), False),
        (list(map(backwards, SAID[:2])), False),
        (list(map(backwards, [*SAID[:2], fill(4)])), False),
        (list(map(backwards, [fill(3, liters=1.11), *SAID[1:]])), False),
        (list(map(backwards, [SAID[0], fill(41), SAID[2]])), False),
    ],
)
def test_changes_written_otherwise_are_the_same_changes(held: Table, records: list[str], is_held: bool) -> None:
    run_id = held.load(envelope(SAID, at(1)), reading="changes", name="said.json").summary.run_id
    undo(held, run_id)
    content = f'{{"records": [{", ".join(records)}]}}'.encode()
    again = held.load(content, reading="changes", written=at(2), apply=False)
    assert [guard.code for guard in again.summary.guards] == (["undone_source"] if is_held else [])


def test_one_file_of_a_run_that_read_several_is_held_when_it_is_written_otherwise(held: Table) -> None:
    names = ("a.json", "b.json")
    for name, records in zip(names, ([fill(3, liters=1.10), fill(40)], [fill(5, liters=2), fill(41)]), strict=True):
        (held.folder / name).write_bytes(envelope(records, at(1)))
    paths = tuple(held.folder / name for name in names)
    request = Request(mode="file", paths=paths, reading="changes", apply=True, wants_report=False, overrides=EVERYTHING)
    undo(held, run_import(request, held.settings, held.uri).summary.run_id)
    content = f'{{"records": [{backwards(fill(5, liters=2))}, {backwards(fill(41))}]}}'.encode()
    again = held.load(content, reading="changes", name="b.json", written=at(2), apply=False)
    assert [guard.code for guard in again.summary.guards] == ["undone_source"]


def test_a_snapshot_in_which_another_row_went_on_is_another_list(held: Table) -> None:
    run_id = held.load(envelope(AFTER, at(1)), name="after.json").summary.run_id
    undo(held, run_id)
    held.changes([fill(2, liters=2)], at(1.5), name="hour.json")
    listed = [fill(2, liters=2) if each["id"] == 2 else each for each in AFTER]
    hour = held.load(envelope(listed, at(2)), name="latest.json")
    assert (hour.exit_code, hour.summary.guards) == (0, [])


def test_what_was_redone_and_undone_again_is_held_again(held: Table) -> None:
    run_id = held.load(envelope(AFTER, at(1)), name="after.json").summary.run_id
    undone = undo(held, run_id).summary.run_id
    redone = undo(held, undone).summary.run_id
    assert held.query("select released_at is not null as is_free from fuel.undone_lists") == [{"is_free": True}]
    undo(held, redone)
    hour = held.load(envelope(AFTER, at(2)), name="latest.json")
    assert [guard.code for guard in hour.summary.guards] == ["undone_source"]


def test_what_was_undone_may_be_let_through(held: Table) -> None:
    run_id = held.load(envelope(AFTER, at(1)), name="after.json").summary.run_id
    undo(held, run_id)
    let = replace(EVERYTHING, allow_undone=True)
    assert held.load(envelope(AFTER, at(2)), name="latest.json", overrides=let).exit_code == 0
    assert held.load(envelope(AFTER, at(3)), name="latest.json").exit_code == 0


def test_an_hour_without_changes_is_undone_and_holds_nothing(held: Table) -> None:
    assert held.load(envelope(AFTER, at(1)), name="latest.json").exit_code == 0
    quiet = held.load(envelope(AFTER, at(2)), name="latest.json").summary.run_id
    before = contents(held)
    done = undo(held, quiet)
    assert done.exit_code == 0
    assert contents(held) == before
    assert f"the mark of the snapshot goes back to {moment(at(1))}" in done.run["remarks"]
    assert any("wrote nothing that can be given back" in remark for remark in done.run["remarks"])
    hour = held.load(envelope(AFTER, at(3)), name="latest.json")
    assert (hour.exit_code, hour.summary.guards) == (0, [])


def test_where_the_mark_goes_is_said_as_it_goes(held: Table) -> None:
    first = held.load(envelope(AFTER, at(1)), name="after.json").summary.run_id
    undone = undo(held, first)
    redone = undo(held, undone.summary.run_id)
    assert f"the mark of the snapshot goes forward to {moment(at(1))}" in redone.run["remarks"]


def test_rejects_that_the_run_resolved_are_open_again(held: Table) -> None:
    broken = json.dumps(fill(40)).replace("KCA", "K\\u0000CA")
    held.load(envelope(BEFORE, at(1)).replace(b"]}", f", {broken}]}}".encode()), name="latest.json")
    asked = "select id, resolved_at is null as is_open from fuel.rejects"
    assert held.query(asked) == [{"id": 40, "is_open": True}]
    run_id = held.load(envelope([*BEFORE, fill(40)], at(2)), name="latest.json").summary.run_id
    assert held.query(asked) == [{"id": 40, "is_open": False}]
    done = undo(held, run_id)
    assert held.query(asked) == [{"id": 40, "is_open": True}]
    undo(held, done.summary.run_id)
    assert held.query(asked) == [{"id": 40, "is_open": False}]


def test_an_undo_is_a_plan_like_any_other(held: Table) -> None:
    before = contents(held)
    run_id = held.load(envelope(AFTER, at(1)), name="after.json").summary.run_id
    shown = undo(held, run_id, apply=False)
    assert apply(held, shown.summary.report).exit_code == 0
    assert {key: row for key, row in contents(held).items() if key != 30} == before


def test_runs_that_cannot_be_undone(held: Table) -> None:
    with pytest.raises(errors.SourceNotFound):
        undo(held, "20200101T000000Z-000000")
    refused = held.load(envelope(BEFORE[:3], at(1)), name="few.json", overrides=Overrides())
    with pytest.raises(errors.CannotUndo, match="refused"):
        undo(held, refused.summary.run_id)
    run_id = held.load(envelope(AFTER, at(1)), name="after.json").summary.run_id
    held.write("insert into fuel.history_kept (since) values (now())")
    with pytest.raises(errors.CannotUndo, match="pruned"):
        undo(held, run_id)
    held.write("delete from fuel.history_kept")


# --- as of --------------------------------------------------------------------------------------------------------


def test_a_file_replayed_against_the_past_gives_the_counts_of_its_run(held: Table) -> None:
    hours: list[tuple[bytes, Reading, Outcome]] = []
    feed: list[tuple[list[Row], Reading]] = [
        (AFTER, "snapshot"),
        ([fill(2, liters=7), fill(50)], "changes"),
        (BEFORE, "snapshot"),
        (AFTER[:16], "changes"),
    ]
    for hour, (records, reading) in enumerate(feed, 1):
        content = envelope(records, at(hour))
        hours.append((content, reading, held.load(content, reading=reading, name=f"hour {hour}.json")))
        held.write(f"update fuel.records set raw = raw || '{{\"amount\": {hour}}}' where id = {hour}")
    for number, (content, reading, done) in enumerate(hours, 1):
        run_id = done.summary.run_id
        asked = f"select stamped_at - interval '1 microsecond' as at from fuel.ingest_runs where run_id = '{run_id}'"
        [stamp] = held.query(asked)
        again = held.load(content, reading=reading, name=f"hour {number}.json", apply=False, as_of=stamp["at"])
        assert again.run["counts"] == done.run["counts"]
        assert again.run["columns"] == done.run["columns"]


def test_the_records_as_of_an_instant(held: Table) -> None:
    before = contents(held)
    [then] = held.query("select clock_timestamp() as at")
    held.load(envelope(AFTER, at(1)), name="after.json")
    held.write("delete from fuel.records where id = 3")
    as_of = f"fuel.records_as_of('{then['at'].isoformat()}')"
    found = held.query(f"select id, raw::text as raw, plate from {as_of} order by id")
    assert {row["id"]: json.loads(row["raw"]) for row in found} == {key: row["raw"] for key, row in before.items()}
    assert {row["plate"] for row in found} == {"KCA542Q"}
    assert held.query("select count(*) as n from fuel.records_as_of('2001-01-01')") == [{"n": 0}]


def test_older_than_the_kept_history_is_refused_with_the_first_instant(held: Table) -> None:
    held.write("insert into fuel.history_kept (since) values ('2026-01-01T00:00:00Z')")
    try:
        with pytest.raises(errors.FleetfuelError, match="2026-01-01T00:00:00Z") as refused:
            held.load(envelope(AFTER, at(1)), apply=False, as_of=at(-10_000))
        assert refused.value.exit_code == 66
    finally:
        held.write("delete from fuel.history_kept")
    with pytest.raises(errors.FleetfuelError, match="lies in the future"):
        held.load(envelope(AFTER, at(1)), apply=False, as_of=at(1_000_000))

"""The poisoned corpus, imported: each bad record between healthy neighbours, each bad file against a healthy table.

The bad records of a group are one snapshot, read in four runs: the healthy table, the poison, the same poison again,
and the feed repaired.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import polars as pl
import pytest
from table import COLUMNS, NOON, Row, Table, at, balance, fill, iso, reported

from fleetfuel import errors
from fleetfuel.pipeline import Outcome
from fleetfuel.plan.limits import Overrides

from .corpus import FILES, HEALTHY, RECORD_TEXTS, RECORDS, BadFile, BadRecord

FIRST: Final = 1_000
NAME: Final = "latest.json"


def test_the_corpus_has_a_name_for_each_and_is_large_enough() -> None:
    names = [each.name for each in RECORDS]
    assert len(set(names)) == len(names)
    assert len({each.name for each in FILES}) == len(FILES)
    assert len(RECORDS) + len(FILES) >= 60


# --- records ------------------------------------------------------------------------------------------------------


def row_of(number: int) -> int:
    """The row that the poison of this number stands for; the next are OTHER and the healthy neighbour after it."""
    return FIRST + 3 * number


def healthy(key: int) -> Row:
    return fill(key, raw_message=f"message {key}")


def spelt(poison: BadRecord, number: int) -> bytes:
    row = row_of(number)
    rest = {
        name: value
        for name, value in healthy(row).items()
        if name != "id" and b'"%b"' % name.encode() not in poison.text
    }
    words = {"ROW": row, "OTHER": row + 1, "BEFORE": row - 1, "REST": json.dumps(rest)[1:-1]}
    text = poison.text
    for word, value in words.items():
        text = text.replace(word.encode(), str(value).encode())
    return text


def numbered(poison: BadRecord, word: str, number: int) -> int:
    return int(word.replace("ROW", str(row_of(number))).replace("OTHER", str(row_of(number) + 1)))


def rows_of(table: Table) -> dict[int, Row]:
    """`Table.rows`, with numbers of any length."""
    found = table.query(f"select {COLUMNS} from fuel.records")
    return {row["id"]: {**row, "raw": json.loads(row["raw"], parse_int=float)} for row in found}


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What the four runs of one group left."""

    poisons: Sequence[BadRecord]
    texts: Mapping[str, bytes]
    before: dict[int, Row]
    poisoned: Outcome
    after: dict[int, Row]
    rejects: Mapping[int, Row]
    """By position, after the poison was read once."""
    notices: Mapping[int, set[str]]
    """Rules by position, from the report."""
    reported: Mapping[int, Row]
    """rejects.parquet by position."""
    again: Outcome
    repaired: Outcome
    resolved: Mapping[int, Row] = field(default_factory=dict)

    def position(self, name: str) -> int:
        return 1 + 2 * [each.name for each in self.poisons].index(name)


def tell(table: Table, poisons: Sequence[BadRecord]) -> Story:
    texts = {each.name: spelt(each, number) for number, each in enumerate(poisons)}
    neighbours = [healthy(row_of(number) - 1) for number in range(len(poisons) + 1)]
    reported(table.load(json.dumps([*neighbours, *_rows(poisons)]).encode(), name=NAME))
    before = rows_of(table)

    elements = [json.dumps(neighbours[0]).encode()]
    for text, neighbour in zip(texts.values(), neighbours[1:], strict=True):
        elements += [text, json.dumps(neighbour).encode()]
    records = len(elements) - sum(each.becomes == "marker" for each in poisons)
    metadata = json.dumps({"exported_at": iso(at(1)), "count": records}).encode()
    file = b'{"metadata": %b, "records": [%b]}' % (metadata, b",\n".join(elements))
    poisoned = table.load(file, name=NAME, wants_report=True)
    reported(poisoned)
    after, rejects = rows_of(table), table.query("select * from fuel.rejects")
    report = table.settings.reports / poisoned.run["run_id"]
    notices: dict[int, set[str]] = {}
    for position, rule in pl.read_parquet(report / "notices.parquet").select("position", "rule").iter_rows():
        notices.setdefault(position, set()).add(rule)

    left = table.everything()
    again = table.load(file, name=NAME)
    reported(again)
    assert {**table.everything(), "rejects": None} == {**left, "rejects": None}
    seen = table.query("select times_seen, resolved_at from fuel.rejects")
    assert [(each["times_seen"], each["resolved_at"]) for each in seen] == [(2, None)] * len(rejects)

    repaired = table.load(json.dumps([*neighbours, *_rows(poisons)]).encode(), name=NAME, written=at(2))
    reported(repaired)
    return Story(
        poisons=poisons,
        texts=texts,
        before=before,
        poisoned=poisoned,
        after=after,
        rejects={each["position"]: each for each in rejects},
        notices=notices,
        reported={each["position"]: each for each in pl.read_parquet(report / "rejects.parquet").to_dicts()},
        again=again,
        repaired=repaired,
        resolved={each["position"]: each for each in table.query("select * from fuel.rejects")},
    )


def _rows(poisons: Sequence[BadRecord]) -> Iterator[Row]:
    for number in range(len(poisons)):
        yield healthy(row_of(number))
        yield healthy(row_of(number) + 1)


GROUPS: Final = {
    breaks: [each for each in RECORDS if each.breaks_json == breaks] for breaks in (False, True)
}  # fmt: skip
"""Records of files that are JSON all the same, and those whose files have to be recovered."""


@pytest.fixture(scope="module")
def stories(shared_tables: Sequence[Table]) -> dict[bool, Story]:
    return {breaks: tell(table, GROUPS[breaks]) for breaks, table in zip((False, True), shared_tables, strict=True)}


def cases() -> list[Any]:
    return [
        pytest.param(each, number, id=each.name.replace(" ", "_"))
        for group in GROUPS.values()
        for number, each in enumerate(group)
    ]


@pytest.mark.parametrize(("poison", "number"), cases())
def test_a_bad_record_becomes(poison: BadRecord, number: int, stories: dict[bool, Story]) -> None:
    story = stories[poison.breaks_json]
    position = story.position(poison.name)
    for neighbour in (row_of(number) - 1, row_of(number) + 2):
        assert is_live(story.after[neighbour])
    if poison.becomes == "rejected":
        _check_reject(story, poison, position)
        kept = {numbered(poison, word, number) for word in poison.keeps}
        for key in (row_of(number), row_of(number) + 1):
            _check_presence(story, key, is_kept=key in kept)
        return
    assert position not in story.rejects
    assert position not in story.reported
    if poison.becomes in ("accepted", "flagged"):
        row = story.after[numbered(poison, poison.row, number)]
        assert row["absent_since"] is None
        assert (row["deleted_at"] is not None) == poison.is_deleted
        assert story.notices.get(position, set()) >= set(poison.rules)
    if poison.becomes == "accepted" and "REST" in poison.text.decode("utf-8", "replace"):
        assert row["raw"]["raw_message"] == f"message {row_of(number)}"
        assert not story.notices.get(position)


def is_live(row: Row) -> bool:
    return row["deleted_at"] is None and row["absent_since"] is None


def _check_reject(story: Story, poison: BadRecord, position: int) -> None:
    text = story.texts[poison.name]
    for found in (story.rejects[position], story.reported[position]):
        assert (found["content_bytes"] if found["content"] is None else found["content"].encode()) == text
        assert [found["rule"]] == list(poison.rules)
        assert found["reason"]
        assert found["source_key"].endswith(NAME)
    kept = story.rejects[position]
    assert (kept["first_run_id"], kept["last_run_id"]) == (story.poisoned.run["run_id"],) * 2
    assert (kept["times_seen"], kept["resolved_at"]) == (1, None)
    done = story.resolved[position]
    assert done["resolved_by"] == story.repaired.run["run_id"]
    assert done["resolved_at"] is not None
    assert done["times_seen"] == 2


def _check_presence(story: Story, row: int, *, is_kept: bool) -> None:
    if is_kept:
        assert story.after[row] == story.before[row]
    else:
        assert story.after[row]["absent_since"] == at(1)


@pytest.mark.parametrize("breaks", [False, True])
def test_the_poisoned_snapshot_adds_up(breaks: bool, stories: dict[bool, Story]) -> None:
    story, group = stories[breaks], GROUPS[breaks]
    became = [each.becomes for each in group]
    counts = story.poisoned.run["counts"]
    balance(counts)
    assert counts["records"] == 2 * len(group) + 1 - became.count("marker")
    assert (counts["rejected"], counts["skipped"]) == (became.count("rejected"), became.count("marker"))
    assert counts["superseded"] == became.count("superseded")
    assert len(story.rejects) == len(story.reported) == became.count("rejected")
    again = story.again.run["counts"]
    assert again["rejected"] == counts["rejected"]
    assert not any(again[name] for name in ("inserts", "updates", "restores", "soft_deletes"))


def test_what_was_rejected_is_reported_of_the_feed_as_a_whole(stories: dict[bool, Story]) -> None:
    reported_of = stories[False].notices[None]  # type: ignore[index]
    assert {"unknown_field", "unknown_fuel_type", "unknown_department"} <= reported_of


# --- files --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def twelve(shared_table: Table) -> tuple[Table, dict[int, Row]]:
    """A table that holds the twelve healthy records, and its rows."""
    reported(shared_table.load(json.dumps(HEALTHY).encode()))
    return shared_table, shared_table.rows()


@pytest.mark.parametrize("file", [pytest.param(each, id=each.name.replace(" ", "_")) for each in FILES])
def test_a_bad_file_leaves_the_table_as_it_is(file: BadFile, twelve: tuple[Table, dict[int, Row]]) -> None:
    table, rows = twelve
    if file.says:
        with pytest.raises(errors.BadInput, match=file.says) as caught:
            table.load(file.content, overrides=Overrides(), written=NOON)
        assert caught.value.exit_code == 65
        assert "Nothing was written" in str(caught.value)
    else:
        outcome = table.load(file.content, overrides=Overrides(), written=NOON)
        guards = [each["code"] for each in outcome.run["guards"]]
        assert guards[:1] == ([file.guard] if file.guard else [])
        assert outcome.exit_code == (3 if file.guard else 0)
        balance(outcome.run["counts"])
        if not file.guard:
            assert reported(outcome) == {"unchanged": 12}
    assert as_reported(table) == as_reported(rows)


def as_reported(rows: Table | dict[int, Row]) -> dict[int, Row]:
    """Rows without the marks of how their texts were written."""
    found = rows.rows() if isinstance(rows, Table) else rows
    return {key: {**row, "fingerprint": None, "version": None} for key, row in found.items()}


@pytest.mark.parametrize("deep", [501, 3_000, 100_000])
def test_a_record_nested_too_deep_is_rejected_and_its_neighbours_are_read(
    deep: int, twelve: tuple[Table, dict[int, Row]]
) -> None:
    """Whatever this Python can read: how deep that is differs from one to the next."""
    table, rows = twelve
    texts = [*RECORD_TEXTS]
    texts[4] = texts[4][:-1] + b', "x": ' + b'{"y": [' * (deep // 2) + b"7" + b"]}" * (deep // 2) + b"}"
    for content in (b"[%b]", b'{"metadata": {"exported_at": "2026-06-11T12:00:00Z"}, "records": [%b]}'):
        outcome = table.load(content % b", ".join(texts), written=NOON)
        assert (reported(outcome), list(outcome.run["rules"])) == (
            {"unchanged": 11, "rejected": 1},
            ["nested_too_deep"],
        )
    assert as_reported(table) == as_reported(rows)


def test_a_file_of_a_day_to_come_shuts_out_nothing_that_follows(table: Table) -> None:
    """Its own time is a wrong clock's: what comes after it is not stale, and the next snapshot is not old."""
    first = table.load(
        json.dumps({"metadata": {"exported_at": "2099-01-01T00:00:00Z"}, "records": [fill(1), fill(2)]}).encode(),
        name="2099-01-01T00-00-00Z.json",
        written=NOON,
    )
    reported(first)
    [remark] = first.run["remarks"]
    assert "its metadata says 2099-01-01" in remark
    assert table.row(1)["source_at"] == NOON
    assert table.changes([fill(1, amount=1)], at(1)) == {"updates": 1}
    assert table.snapshot([fill(1, amount=2), fill(2)], at(2), overrides=Overrides()) == {"updates": 1, "unchanged": 1}


def test_changes_that_announce_another_number_load_and_say_so(table: Table) -> None:
    file = {"metadata": {"exported_at": iso(NOON), "count": 3}, "records": [fill(1), fill(2)]}
    outcome = table.load(json.dumps(file).encode(), reading="changes")
    assert reported(outcome) == {"inserts": 2}
    [remark] = outcome.run["remarks"]
    assert remark.endswith("announces 3 and holds 2 records")


def test_a_record_that_holds_again_what_the_table_holds_resolves_its_reject(table: Table) -> None:
    text = json.dumps(fill(5)).encode()
    table.load(b"[" + text + b"]", reading="changes")
    table.load(b"[" + text.replace(b"Amani", b"\xff") + b"]", reading="changes", name="damaged.json")
    [reject] = table.query("select id, rule, resolved_by from fuel.rejects")
    assert (reject["id"], reject["rule"], reject["resolved_by"]) == (5, "invalid_utf8", None)
    mended = table.load(b"[" + text + b"]", reading="changes")
    assert reported(mended) == {"unchanged": 1}
    [reject] = table.query("select resolved_by from fuel.rejects")
    assert reject["resolved_by"] == mended.run["run_id"]

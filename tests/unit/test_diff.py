from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pyarrow as pa
import pytest

from fleetfuel.model.table import State
from fleetfuel.plan import absent, decide, fold, match, same
from fleetfuel.plan.evidence import Mark
from fleetfuel.plan.samples import changed_columns, sample_changes
from fleetfuel.records.rows import INDEX
from fleetfuel.rules.book import load_rules
from fleetfuel.table import state

RULES = load_rules()
OVERLAP = timedelta(minutes=15)
NOON = datetime(2026, 6, 11, 12, tzinfo=UTC)


def at(hours: float) -> datetime:
    return NOON + timedelta(hours=hours)


# --- equality -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("1.10", "1.1"),
        ("1e2", "100"),
        ("-0", "0.0"),
        ('"\\u00e4"', '"ä"'),
        ('{"a":1,"b":2}', '{ "b" : 2, "a":1 }'),
        ('{"a":1,"a":2}', '{"a":2}'),
        ("[1, [2.0]]", "[1,[2]]"),
        ("1e5000", "1" + "0" * 5000),
        ("[" * 450 + "1" + "]" * 450, "[" * 450 + "1.0" + "]" * 450),
    ],
)
def test_the_same_value_written_otherwise(before: str, after: str) -> None:
    assert same.same_json(before.encode(), after.encode())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("1", '"1"'),
        ("1", "true"),
        ("0", "false"),
        ("null", '""'),
        ("[1,2]", "[2,1]"),
        ("{}", "[]"),
        ('{"a":null}', "{}"),
        ("9007199254740993", "9007199254740992"),
        ("0.1", "0.10000000000000000001"),
        ('"a"', '"A"'),
    ],
)
def test_another_value(before: str, after: str) -> None:
    assert not same.same_json(before.encode(), after.encode())


def test_the_changed_fields_are_named_once_those_that_came_and_went_too() -> None:
    before = b'{"id": 1, "amount": 4500, "gone": 1, "same": [1.0]}'
    after = b'{"same": [1], "amount": 4050, "new": null, "id": 1.0}'
    assert same.changed_fields(before, after) == ["amount", "new", "gone"]


def test_a_raw_that_somebody_made_no_object_differs_as_a_whole() -> None:
    assert same.changed_fields(b"[]", b'{"id": 1}') == ["raw"]


# --- which records need a look ------------------------------------------------------------------------------------


def table(*rows: tuple[int, int | None, float | None, bool, bool]) -> State:
    """(id, fingerprint, hour of the newest change, is_live, is_present) each."""
    return State(
        rows=pl.DataFrame(
            [(*row[:2], None if row[2] is None else at(row[2]), *row[3:]) for row in rows],
            schema=state.ROWS,
            orient="row",
        ),
        now=at(1000),
        mark=None,
        watermark=None,
        disbelieved=(),
        open_rejects=state.OPEN_REJECTS.to_frame(),
    )


def standing(mark: float | None = None, *, is_forced: bool = False) -> Mark:
    return Mark(at=None if mark is None else at(mark), overlap=OVERLAP, is_forced=is_forced)


def index(*fingerprints: int) -> pl.DataFrame:
    return pl.DataFrame(
        [(0, position, fingerprint) for position, fingerprint in enumerate(fingerprints)], schema=INDEX, orient="row"
    )


def test_a_text_that_the_table_holds_needs_no_look_unless_its_row_is_absent() -> None:
    held = table((1, 1, 0, True, True), (2, 2, 0, False, True), (3, 3, 0, False, False))
    known, unknown = match.match_rows(index(1, 2, 3, 4), held, standing())
    assert known.select("position", "row").rows() == [(0, 0), (1, 1)]
    assert unknown["position"].to_list() == [2, 3]


def test_a_text_in_a_newer_file_of_changes_is_looked_at_so_that_its_time_is_noted() -> None:
    held = table((1, 1, 2, True, True))
    for file_at, is_known in ((1, True), (2, True), (3, False)):
        known, unknown = match.match_rows(index(1), held, standing(), [at(file_at)])
        assert (known.height, unknown.height) == (is_known, not is_known)
    for mark, is_known in ((3, False), (3.2, False), (3.3, True)):
        known, _ = match.match_rows(index(1), held, standing(mark), [at(3)])
        assert known.height == is_known
    assert match.match_rows(index(1), table((1, 1, None, True, True)), standing(), [at(3)])[0].is_empty()


@pytest.mark.parametrize("together", [1, 3, 100])
def test_what_is_looked_up_in_parts_is_found_as_at_once(together: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(match, "TOGETHER", together)
    numbers = [7, -(2**100), 2**99 + 1, 0, 12, -1]
    held = table(*((key, number, 0, True, True) for key, number in enumerate(numbers)))
    known, unknown = match.match_rows(index(-1, 5, *numbers, 7), held, standing(), [at(1)])
    assert known["row"].to_list() == []
    known, unknown = match.match_rows(index(-1, 5, *numbers, 7), held, standing(), [at(0)])
    assert known["row"].to_list() == [5, 0, 1, 2, 3, 4, 5, 0]
    assert unknown["position"].to_list() == [1]
    assert match.match_rows(index(-1, 5, *numbers, 7), held, standing())[0]["row"].equals(known["row"])


@pytest.mark.parametrize("together", [1, 100])
def test_of_rows_with_one_fingerprint_none_is_known(together: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(match, "TOGETHER", together)
    held = table((1, 7, 0, True, True), (2, 7, 0, True, True), (3, 8, 0, True, True))
    known, unknown = match.match_rows(index(7, 8), held, standing())
    assert (known["row"].to_list(), unknown["position"].to_list()) == ([2], [0])


def test_known_records_whose_id_occurs_again_are_split_off() -> None:
    held = table(*((key, key, 0, True, True) for key in (4, 3, 2, 1)))
    known, _ = match.match_rows(index(1, 2, 3, 3), held, standing())
    alone, repeated = match.split_repeated(known, pl.Series("id", [2, 9], dtype=pl.Int64), held)
    assert (alone["position"].to_list(), repeated["position"].to_list()) == ([0], [1, 2, 3])


def test_where_no_id_occurs_again_none_is_split_off() -> None:
    held = table((4, 1, 0, True, True), (3, 2, 0, True, True))
    known, _ = match.match_rows(index(2, 1), held, standing())
    for others in ([], [9]):
        alone, repeated = match.split_repeated(known, pl.Series("id", others, dtype=pl.Int64), held)
        assert (alone["position"].to_list(), repeated.height) == ([0, 1], 0)


# --- the last word ------------------------------------------------------------------------------------------------


def candidate(key: int, hour: float, position: int = 0, **more: object) -> dict[str, object]:
    plain: dict[str, object] = {"id": key, "file": 0, "position": position, "is_delete": False}
    plain |= {"carries_values": True, "is_deleted": False, "deleted_at": None}
    return {**plain, "source_at": at(hour), "has_own_time": False, **more}


def candidates(*rows: dict[str, object]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=decide.CANDIDATES)


def test_the_latest_source_time_wins_then_the_file_then_the_position() -> None:
    winners = decide.last_words(
        candidates(
            candidate(1, 2, 0), candidate(1, 1, 1),
            candidate(2, 1, 2), candidate(2, 1, 3),
            candidate(3, 1, 5, file=0), candidate(3, 1, 4, file=1),
        )
    )  # fmt: skip
    assert winners.select("id", "position").rows() == [(1, 0), (2, 3), (3, 4)]


def test_a_bare_delete_that_wins_points_to_the_newest_values_before_it() -> None:
    delete = candidate(1, 3, 2, is_delete=True, carries_values=False)
    [winner] = decide.last_words(candidates(candidate(1, 1, 0), candidate(1, 2, 1), delete)).to_dicts()
    assert (winner["position"], winner["value_position"]) == (2, 1)


# --- decisions ----------------------------------------------------------------------------------------------------


def detail(key: int, change: float | None, raw: str = '{"id":1,"amount":1}', **marks: object) -> dict[str, object]:
    plain = {"id": key, "raw": raw, "fingerprint": 15, "deleted_at": None, "absent_since": None, "source_at": at(0)}
    change_at = None if change is None else at(change)
    return {**plain, "change_at": change_at, "plate": "KCA542Q", "filled_at": NOON, **marks}


def decided(
    record: dict[str, object],
    text: bytes | None,
    row: dict[str, object] | None,
    against: Mark | None = None,
    *,
    snapshot: bool = False,
) -> dict[str, object]:
    """What comes of one record; its `source_at` is its file's time, unless `file_at` says otherwise."""
    against = against or standing()
    details = pl.DataFrame([row] if row else [], schema=state.DETAILS)
    file_at = record.pop("file_at", record["source_at"])
    words = candidates(record)
    words = (decide.last_words(words) if snapshot else words).with_columns(file_at=pl.lit(file_at))
    settle = fold.settle_snapshot if snapshot else fold.settle_changes
    settled = settle(decide.meet_rows(words, details), against).with_columns(fingerprint=pl.lit(14, dtype=pl.Int128))
    [decision] = decide.compare_rows(settled, details, pa.array([text], pa.large_binary()), against).to_dicts()
    return decision


SAME, EDITED = b'{"amount":1.0,"id":1}', b'{"id":1,"amount":2}'


def test_a_record_without_a_row_is_inserted_a_deleted_one_as_deleted() -> None:
    assert decided(candidate(1, 1), EDITED, None)["action"] == "insert"
    reported = decided(candidate(1, 1, is_deleted=True, deleted_at=at(0)), EDITED, None)
    assert (reported["action"], reported["deleted_at"]) == ("insert", at(0))


def test_an_insert_from_before_the_last_snapshot_is_absent_and_keeps_no_fingerprint() -> None:
    reported = decided(candidate(1, 1), EDITED, None, standing(2))
    assert (reported["action"], reported["absent_since"], reported["fingerprint"]) == ("insert", at(2), None)
    assert decided(candidate(1, 1), EDITED, None, standing(2), snapshot=True)["absent_since"] is None


def test_an_edit_is_an_update_with_its_fields_and_an_older_one_is_stale() -> None:
    reported = decided(candidate(1, 2), EDITED, detail(1, 1))
    assert (reported["action"], reported["changed"]) == ("update", ["amount"])
    assert (reported["source_at"], reported["change_at"]) == (at(2), at(2))
    assert decided(candidate(1, 1), EDITED, detail(1, 2))["action"] == "stale"
    assert decided(candidate(1, 2), EDITED, detail(1, 1), standing(3))["action"] == "stale"
    assert decided(candidate(1, 2), EDITED, detail(1, 1), standing(2.2))["action"] == "update"


def test_the_same_value_in_other_words_is_only_a_refresh() -> None:
    reported = decided(candidate(1, 2), SAME, detail(1, 1))
    assert (reported["action"], reported["position"]) == ("refresh", None)
    assert decided(candidate(1, 1), SAME, detail(1, 2))["action"] == "unchanged"


def test_a_version_seen_again_in_a_newer_file_is_a_refresh_and_in_the_same_one_unchanged() -> None:
    same = detail(1, 1, fingerprint=14)
    assert decided(candidate(1, 2), SAME, same)["change_at"] == at(2)
    assert decided(candidate(1, 2), SAME, same)["action"] == "refresh"
    assert decided(candidate(1, 1), SAME, same)["action"] == "unchanged"
    assert decided(candidate(1, 2), SAME, same, snapshot=True)["action"] == "unchanged"


def test_a_restored_source_makes_void_what_newer_files_said_of_a_row_it_agrees_with() -> None:
    row = detail(1, 9, fingerprint=14, source_at=at(9))
    reported = decided(candidate(1, 2), SAME, row, standing(8, is_forced=True), snapshot=True)
    assert (reported["action"], reported["change_at"], reported["source_at"]) == ("refresh", None, at(2))


def test_a_flag_deletes_softly_and_its_absence_restores() -> None:
    gone = decided(candidate(1, 2, is_deleted=True, deleted_at=at(1)), EDITED, detail(1, 1))
    assert (gone["action"], gone["deleted_at"]) == ("soft_delete_flagged", at(1))
    back = decided(candidate(1, 2), EDITED, detail(1, 1, deleted_at=at(0)))
    assert (back["action"], back["deleted_at"]) == ("restore", None)


def test_a_bare_delete_keeps_the_values_and_does_not_make_an_absent_row_present() -> None:
    def bare() -> dict[str, object]:
        return candidate(1, 3, is_delete=True, carries_values=False, position=7)

    reported = decided(bare(), None, detail(1, 1))
    assert (reported["action"], reported["position"], reported["deleted_at"]) == ("soft_delete_flagged", None, at(3))
    assert decided(bare(), None, detail(1, 1, absent_since=at(2)))["absent_since"] == at(2)


def test_a_deletion_told_again_keeps_its_time_and_takes_the_values() -> None:
    again = candidate(1, 3, is_delete=True)
    reported = decided(again, EDITED, detail(1, 3, deleted_at=at(3)))
    assert (reported["action"], reported["deleted_at"], reported["changed"]) == ("update", at(3), ["amount"])


def test_an_absent_row_comes_back_with_a_file_no_older_than_the_last_snapshot() -> None:
    absent = detail(1, 1, absent_since=at(2))
    assert decided(candidate(1, 3), SAME, absent, standing(2))["action"] == "restore"
    assert decided(candidate(1, 3), SAME, absent, standing(4))["action"] == "unchanged"
    assert decided(candidate(1, 4), SAME, absent, standing(2), snapshot=True)["action"] == "restore"


# --- absence ------------------------------------------------------------------------------------------------------


def test_what_a_snapshot_lacks_is_absent_unless_a_change_file_newer_than_it_spoke_of_it() -> None:
    details = pl.DataFrame(
        [detail(1, 1), detail(2, 9), detail(3, None, deleted_at=at(0)), detail(4, 2)], schema=state.DETAILS
    )
    reported = absent.mark_absent(details, at(2), standing())
    assert reported.select("id", "action").rows() == [
        (1, "soft_delete_absent"),
        (3, "mark_absent"),
        (4, "soft_delete_absent"),
    ]
    assert reported["absent_since"].unique().to_list() == [at(2)]
    forced = absent.mark_absent(details, at(2), standing(is_forced=True))
    assert forced.select("id", "change_at").rows() == [(1, at(1)), (2, None), (3, None), (4, at(2))]


def test_a_row_whose_values_a_record_with_a_broken_id_holds_is_not_gone() -> None:
    details = pl.DataFrame([detail(1, None), detail(2, None, '{"id":2,"amount":2}')], schema=state.DETAILS)
    assert absent.without_unkeyed(details, [])["id"].to_list() == [1, 2]
    assert absent.without_unkeyed(details, [b'{"amount":1.0,"id":"?"}', b"{}"])["id"].to_list() == [2]


def test_a_restored_source_makes_void_what_newer_change_files_said_and_nothing_else() -> None:
    details = pl.DataFrame([detail(1, 2), detail(2, 9, deleted_at=at(1))], schema=state.DETAILS)
    forgotten = absent.forget_changes(details, at(2))
    assert forgotten.select("id", "action", "file", "position", "change_at", "deleted_at", "fingerprint").rows() == [
        (1, "forget", 0, None, at(2), None, 15),
        (2, "forget", 0, None, None, at(1), 15),
    ]


@pytest.mark.parametrize(
    ("height", "slices"),
    [
        (1, [[1, 1], [2], [3, 3, 3], [4]]),
        (2, [[1, 1], [2, 3, 3, 3], [4]]),
        (4, [[1, 1, 2, 3, 3, 3], [4]]),
        (7, [[1, 1, 2, 3, 3, 3, 4]]),
    ],
)
def test_a_slice_parts_no_id(height: int, slices: list[list[int]]) -> None:
    words = pl.DataFrame({"id": [1, 1, 2, 3, 3, 3, 4]})
    assert [part["id"].to_list() for part in fold.whole_ids(words, height)] == slices


def test_only_rows_present_so_far_can_become_absent() -> None:
    held = table((1, None, 0, True, True), (2, None, 0, False, True), (3, None, 0, False, False))
    known, _ = match.match_rows(index(), held, standing())
    assert absent.find_absent(held, known, pl.Series("id", [1], dtype=pl.Int64)).to_list() == [2]


def test_rows_whose_text_a_snapshot_holds_are_not_absent() -> None:
    held = table((1, 7, 0, True, True), (2, 8, 0, True, True), (3, 9, 0, True, True))
    known, _ = match.match_rows(index(9, 7, 5), held, standing())
    assert absent.find_absent(held, known, pl.Series("id", [5], dtype=pl.Int64)).to_list() == [2]


# --- what is shown ------------------------------------------------------------------------------------------------


def test_changed_columns_go_by_their_own_names_and_are_counted_once_a_row() -> None:
    writes = pl.DataFrame(
        {"action": ["update", "update", "insert"], "changed": [["amount", "liters"], ["amount", "litres", "x"], None]},
        schema={"action": pl.String, "changed": pl.List(pl.String)},
    )
    assert changed_columns(writes, RULES) == {"amount_kes": 2, "litres": 2, "x": 1}


def test_samples_show_value_plate_and_day_but_nothing_personal() -> None:
    after = b'{"id":1,"amount":2,"driver":"b"}'
    reported = decided(candidate(1, 2), after, detail(1, 1, '{"id":1,"amount":1,"driver":"a"}'))
    writes = pl.DataFrame([reported], schema=decide.DECISIONS)
    samples, _ = sample_changes(writes, lambda *_: after, RULES)
    assert list(samples) == ["amount_kes"]
    [sample] = samples["amount_kes"]
    assert (sample.before, sample.after, sample.plate, sample.day) == ("1", "2", "KCA542Q", "2026-06-11")

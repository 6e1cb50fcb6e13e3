"""The truth tables of `plan/evidence.py`, every line of them, held against the model in plain dictionaries."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from fleetfuel.plan import absent, decide, fold
from fleetfuel.plan.evidence import Mark
from fleetfuel.table import state

from .model import Export, Message, Model, Row

MARK = datetime(2026, 6, 11, 12, tzinfo=UTC)
OVERLAP = timedelta(minutes=15)
NOW = MARK + timedelta(days=100)


def at(minutes: float | None) -> datetime | None:
    return None if minutes is None else MARK + timedelta(minutes=minutes)


def _reported(key: int, position: int, own: float | None, kind: str, file: int = 0) -> tuple[dict[str, Any], Message]:
    """One word on an id, as the decision meets it and as the model does."""
    is_delete, carries = kind.startswith("tell"), kind != "tell"
    record = {"id": key, "amount": position, **({"deleted_at": "x"} if kind == "deleted" else {})}
    message = Message(id=key, record=record if carries else None, updated_at=at(own), is_delete=is_delete)
    candidate = {
        "file": file,
        "position": position,
        "id": key,
        "is_delete": is_delete,
        "carries_values": carries,
        "is_deleted": kind == "deleted",
        "deleted_at": MARK if kind == "deleted" else None,
        "source_at": at(own),
        "has_own_time": own is not None and not is_delete,
    }
    return candidate, message


def _row(key: int, own: float | None, change: float | None, marks: str) -> tuple[dict[str, Any], Row]:
    is_deleted, is_absent = "deleted" in marks, "absent" in marks
    detail = {
        "id": key,
        "raw": "{}",
        "fingerprint": None,
        "deleted_at": MARK if is_deleted else None,
        "absent_since": MARK if is_absent else None,
        "source_at": at(own) or MARK,
        "own_at": at(own),
        "change_at": at(change),
        "plate": None,
        "filled_at": None,
    }
    return detail, Row({"row": key}, at(own), at(change), is_deleted, is_absent)


OWN = (None, -60, -16, -15, -10, 5)
CHANGE = (None, -60, -20, -10, 0, 10)
FILES = (-60, -20, -16, -15, -10, 0, 10)
KINDS = ("live", "deleted", "tell", "tell with row")
STATES = ("", "deleted", "absent", "deleted absent")


@pytest.mark.parametrize("mark", [None, 0])
@pytest.mark.parametrize("file_at", FILES)
def test_every_word_of_a_change_file_is_weighed_as_the_model_weighs_it(file_at: float, mark: float | None) -> None:
    cases = [
        *itertools.product(OWN, KINDS, OWN, CHANGE, STATES),
        *((own, kind, None, None, None) for own in OWN for kind in KINDS),
    ]
    model, words, details, messages = Model(mark=at(mark)), [], [], []
    for key, (own, kind, row_own, change, marks) in enumerate(cases):
        word, message = _reported(key, 1, own, kind)
        words.append(word | {"source_at": word["source_at"] if word["has_own_time"] else at(file_at)})
        messages.append(message)
        if marks is not None:
            detail, row = _row(key, row_own, change, marks)
            details.append(detail)
            model.rows[key] = row
    known = dict(model.copied().rows)
    moment = at(file_at)
    assert moment
    model.read([Export(kind="changes", key="k", claimed=moment, written=moment, messages=tuple(messages))], NOW)
    settled = _settle(words, details, Mark(at=at(mark), overlap=OVERLAP), moment)
    _compare(settled, model, known)


@pytest.mark.parametrize("is_forced", [False, True])
@pytest.mark.parametrize("file_at", [0, 10])
def test_every_word_of_a_snapshot_is_weighed_as_the_model_weighs_it(file_at: float, is_forced: bool) -> None:
    cases = [*itertools.product(OWN, ("live", "deleted"), OWN, CHANGE, STATES)]
    model, words, details, messages = Model(mark=at(-30)), [], [], []
    for key, (own, kind, row_own, change, marks) in enumerate(cases):
        word, message = _reported(key, 1, own, kind)
        words.append(word | {"source_at": word["source_at"] if word["has_own_time"] else at(file_at)})
        messages.append(message)
        detail, row = _row(key, row_own, change, marks)
        details.append(detail)
        model.rows[key] = row
    known = dict(model.copied().rows)
    moment = at(file_at)
    assert moment
    export = Export(kind="snapshot", key="k", claimed=moment, written=moment, messages=tuple(messages))
    model.read([export], NOW, is_forced=is_forced)
    mark = Mark(at=at(-30), overlap=OVERLAP, is_forced=is_forced)
    frame, rows = _frames(words, details, moment)
    settled = fold.settle_snapshot(decide.meet_rows(decide.last_words(frame), rows), mark)
    _compare(settled, model, known)


def test_what_a_snapshot_lacks_is_weighed_as_the_model_weighs_it() -> None:
    for file_at, is_forced in itertools.product((0, 10), (False, True)):
        model, details = Model(mark=at(-30)), []
        for key, (change, marks) in enumerate(itertools.product(CHANGE, ("", "deleted"))):
            detail, row = _row(key, None, change, marks)
            details.append(detail)
            model.rows[key] = row
        moment = at(file_at)
        assert moment
        model.read(
            [Export(kind="snapshot", key="k", claimed=moment, written=moment, messages=())], NOW, is_forced=is_forced
        )
        rows = pl.DataFrame(details, schema=state.DETAILS)
        gone = absent.mark_absent(rows, moment, Mark(at=at(-30), overlap=OVERLAP, is_forced=is_forced))
        assert gone["id"].to_list() == [key for key, row in model.rows.items() if row.is_absent]
        assert gone["change_at"].to_list() == [row.change_at for row in model.rows.values() if row.is_absent]


@pytest.mark.parametrize("owns", list(itertools.product((None, -9, -6, -3), repeat=3)))
def test_files_folded_together_leave_what_single_runs_leave(owns: tuple[float | None, ...]) -> None:
    order = [*zip((-5, -4, -3), owns, strict=True)]
    words, model = [], Model(mark=at(0))
    model.rows[1] = Row({"row": 1}, None, None)
    for file, (file_at, own) in enumerate(order):
        word, message = _reported(1, file, own, "live", file)
        words.append(word | {"source_at": word["source_at"] or at(file_at)})
        moment = at(file_at)
        assert moment
        model.read([Export(kind="changes", key="k", claimed=moment, written=moment, messages=(message,))], NOW)
    times = pl.Series([at(file_at) for file_at, _ in order])
    detail, known = _row(1, None, None, "")
    frame, rows = _frames(words, [detail], MARK)
    frame = frame.with_columns(file_at=times.gather(frame["file"]))
    settled = fold.settle_changes(decide.meet_rows(fold.in_turn(frame), rows), Mark(at=at(0), overlap=OVERLAP))
    _compare(settled, model, {1: known})


def test_in_whatever_order_files_arrive_the_latest_own_time_stands() -> None:
    """Of two with the same own time the newer file's, unless a file newer still, with an older stamp, came before it:
    what a row keeps is the newest file that spoke of it. The next snapshot knows."""
    cases = [*itertools.product(itertools.product((-9, -6, -3), repeat=3), itertools.permutations(range(3)))]
    details = [_row(key, None, None, "")[0] for key in range(len(cases))]
    held = [0] * len(cases)
    for turn in range(3):
        files = [order[turn] for _, order in cases]
        words = [_reported(key, file, cases[key][0][file], "live")[0] for key, file in enumerate(files)]
        frame, rows = _frames(words, details, MARK)
        frame = frame.with_columns(file_at=pl.Series([at(file) for file in files], dtype=frame.schema["file_at"]))
        settled = fold.settle_changes(decide.meet_rows(fold.in_turn(frame), rows), Mark(at=None, overlap=OVERLAP))
        for row in settled.filter("is_taken").to_dicts():
            held[row["id"]] = row["value_position"]
            details[row["id"]] |= {"own_at": row["source_at"], "change_at": row["change_at"]}
    for file, (owns, order) in zip(held, cases, strict=True):
        latest = [each for each in range(3) if owns[each] == max(owns)]
        came_between = [each for each in range(3) if owns[each] < max(owns) and each > file]
        assert file == max(latest) or (file in latest and came_between), (owns, order)


def _frames(
    words: list[dict[str, Any]], details: list[dict[str, Any]], file_at: datetime
) -> tuple[pl.DataFrame, pl.DataFrame]:
    frame = pl.DataFrame(words, schema=decide.CANDIDATES).with_columns(file_at=pl.lit(file_at))
    return frame, pl.DataFrame(details, schema=state.DETAILS)


def _settle(words: list[dict[str, Any]], details: list[dict[str, Any]], mark: Mark, file_at: datetime) -> pl.DataFrame:
    frame, rows = _frames(words, details, file_at)
    return fold.settle_changes(decide.meet_rows(fold.in_turn(frame), rows), mark)


def _compare(settled: pl.DataFrame, model: Model, known: dict[int, Row]) -> None:
    for row in settled.to_dicts():
        wanted, before = model.rows[row["id"]], known.get(row["id"])
        reported = (row["change_at"], row["deleted_at"] is not None, row["is_absent"])
        assert reported == (wanted.change_at, wanted.is_deleted, wanted.is_absent), (row, wanted, before)
        if wanted.record is not None and "amount" in wanted.record:
            assert (row["is_taken"], row["value_position"]) == (True, wanted.record["amount"]), (row, wanted, before)
        elif before is not None and before.change_at == wanted.change_at and not row["is_delete"]:
            assert not row["is_taken"], (row, wanted, before)

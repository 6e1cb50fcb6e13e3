from __future__ import annotations

from datetime import UTC, datetime, timedelta

from fleetfuel.feed.gaps import describe_gaps, find_gaps

NOON = datetime(2026, 6, 11, 12, tzinfo=UTC)


def hours(*numbers: float) -> list[datetime]:
    return [NOON + timedelta(hours=number) for number in numbers]


def test_hourly_files_have_no_gap_whatever_their_order_and_however_often_they_come() -> None:
    assert find_gaps(hours(2, 0, 1, 1, 3)) == []
    assert find_gaps([]) == find_gaps(hours(5)) == []


def test_a_file_half_an_hour_late_leaves_no_gap() -> None:
    assert find_gaps(hours(0, 1.5, 2)) == []


def test_a_gap_lies_between_two_files_and_counts_the_hours_without_one() -> None:
    assert find_gaps(hours(0, 1, 4, 6)) == [(*hours(1, 4), 2), (*hours(4, 6), 1)]


def test_gaps_are_reported_in_sentences() -> None:
    assert describe_gaps(hours(0, 2)) == [
        "no change file for 1 hour between 2026-06-11 12:00Z and 2026-06-11 14:00Z",
    ]


def test_the_newest_gaps_are_reported_and_the_others_counted() -> None:
    said = describe_gaps(hours(*range(0, 40, 4)), most=2)
    assert said[0] == "7 earlier gaps in the change files, not listed"
    assert len(said) == 3
    assert "2026-06-13 00:00Z" in said[-1]

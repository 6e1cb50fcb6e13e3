"""A year of hourly files: late, repeated, overlapping, two of them bad. It ends in the table of the last snapshot."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from table import fill

from .conftest import Feed, delta, key_of

START: Final = datetime(2025, 1, 1, tzinfo=UTC)
"""A year that is over: a file of a day to come is not of that day."""
HOUR = timedelta(hours=1)
HOURS = 8_760
LATE = (8_720, 8_731)
BAD = (3_000, 6_000)


def test_a_year_of_files_ends_in_the_table_of_the_last_snapshot(feed: Feed) -> None:
    rng = random.Random(7)
    truth: dict[int, dict[str, Any]] = {}
    bodies: dict[str, bytes] = {}
    earlier: list[Mapping[str, Any]] = []
    for hour in range(HOURS):
        at = START + hour * HOUR
        records: list[Mapping[str, Any]] = []
        if rng.random() < 0.5:
            key = len(truth) + 1
            truth[key] = fill(key, amount=hour)
            records.append(truth[key])
        if truth and rng.random() < 0.2:
            key = rng.choice(list(truth))
            truth[key] = {**truth[key], "amount": rng.randrange(1_000, 20_000)}
            records.append(truth[key])
        if truth and rng.random() < 0.02:
            key = rng.choice(list(truth))
            truth[key] = {**truth[key], "deleted_at": f"{at:%Y-%m-%d %H:%M:%S}"}
            records.append({"op": "delete", "id": key, "row": truth[key]})
        overlap = [record for record in earlier if "op" not in record and truth.get(int(record["id"])) == record]
        bodies[key_of(at)] = delta(at, *overlap, *records)
        earlier = records
    late = {key_of(START + hour * HOUR): bodies.pop(key_of(START + hour * HOUR)) for hour in LATE}
    good = {key_of(START + hour * HOUR): bodies[key_of(START + hour * HOUR)] for hour in BAD}
    bodies |= {name: body[: len(body) // 2] for name, body in good.items()}
    feed.put_all(bodies)

    stopped = feed.run()
    assert stopped.exit_code == 65
    assert len(feed.read_files(stopped)) == BAD[0]

    caught_up = feed.run(skip_bad_files=True)
    assert caught_up.exit_code == 0
    assert len(feed.read_files(caught_up)) == HOURS - len(LATE) - len(BAD) - BAD[0]

    feed.put_all(late | good)
    repaired = feed.run(lookback_hours=HOURS)
    assert sorted(feed.read_files(repaired)) == sorted(late | good)

    again = feed.run()
    assert feed.read_files(again) == []

    table = {key: row["raw"] for key, row in feed.table.rows().items()}
    assert table == truth

    feed.put_snapshot(START + HOURS * HOUR, list(truth.values()))
    for _ in range(2):
        snapshot = feed.run(mode="snapshot")
        reported = {name: number for name, number in snapshot.run["counts"].items() if number and name != "warned"}
        assert reported == {"records": len(truth), "unchanged": len(truth)}

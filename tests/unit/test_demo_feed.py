import json
import re
import subprocess
import sys
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, Literal

import pytest
from bench.snapshot import write_snapshot

from fleetfuel.sandbox.fleet import Row
from fleetfuel.sandbox.producer import STRAYS, Producer

DAY = 24
COLUMNS = [
    *("id", "created_at", "datetime", "department", "driver", "car", "liters", "amount", "type", "odometer"),
    *("sender", "raw_message", "deleted_at"),
]


def read(body: bytes) -> Any:
    return json.loads(body.decode("utf-8-sig"))


def envelope(body: bytes) -> tuple[str, dict[str, Any], list[Row]]:
    """The shape of a delta, its metadata and its entries."""
    document = read(body)
    if isinstance(document, dict):
        names = document.keys() - {"metadata"}
        assert len(names) == 1
        name = names.pop()
        return name, document["metadata"], document[name]
    if len(document) == 1 and "records" in document[0]:
        return "wrapped", document[0]["metadata"], document[0]["records"]
    return "plain", {}, document


def rows_of(body: bytes) -> list[Row]:
    return [entry.get("row", entry) for entry in envelope(body)[2] if "success" not in entry]


def live(producer: Producer) -> dict[int, Row]:
    return {key: row for key, row in producer.truth.items() if not row["deleted_at"]}


def instant(key: str) -> datetime:
    text = key.removeprefix("fuel_records/changes/").removesuffix(".json")
    found = re.fullmatch(r"(\d{4}-\d\d-\d\d)T(\d\d)[-:](\d\d)[-:](\d\d)(\.000Z|\+03:00|)", text)
    assert found, key
    zone = "+00:00" if found[5] == ".000Z" else "+03:00"
    return datetime.fromisoformat(f"{found[1]}T{found[2]}:{found[3]}:{found[4]}{zone}")


def share(rows: Iterator[bool] | list[bool]) -> float:
    seen = list(rows)
    return sum(seen) / len(seen)


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return list(Producer().truth.values())


def history(seed: int) -> list[tuple[str, bytes]]:
    producer = Producer(seed=seed, records=300, vehicles=20)
    files = [producer.snapshot()]
    for _ in range(DAY):
        producer.advance()
        files.append(producer.changes())
    return [*files, producer.snapshot(), ("devices", json.dumps(producer.devices()).encode())]


def test_the_same_seed_and_calls_give_the_same_bytes() -> None:
    assert history(7) == history(7)
    assert history(7) != history(8)


def test_the_bytes_do_not_depend_on_the_process() -> None:
    code = (
        "import sys; from fleetfuel.sandbox.producer import Producer\n"
        "sys.stdout.buffer.write(Producer(records=50).snapshot()[1])"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, env={"PYTHONHASHSEED": salt}
        ).stdout
        for salt in ("1", "2")
    ]
    assert runs[0] == runs[1] == Producer(records=50).snapshot()[1]


def test_asking_for_deltas_does_not_disturb_what_happens() -> None:
    watched, unwatched = Producer(records=200), Producer(records=200)
    for _ in range(DAY):
        watched.advance()
        watched.changes()
        unwatched.advance()
    assert watched.snapshot() == unwatched.snapshot()


def test_a_snapshot_holds_the_table_then_the_strays_and_counts_them_all() -> None:
    producer = Producer()
    key, body = producer.snapshot()
    document = read(body)
    assert key == "fuel_records/latest.json"
    assert document["records"] == [*producer.truth.values(), *STRAYS]
    assert document["metadata"] == {
        "exported_at": "2026-06-08T03:00:00.000Z",
        "record_count": len(document["records"]),
        "source": "logistics_department.fuel_records",
    }
    assert list(document["records"][0]) == COLUMNS


@pytest.mark.parametrize("records", [0, 1, 9, 60, 1_900])
def test_the_table_starts_with_as_many_rows_as_asked(records: int) -> None:
    assert len(Producer(records=records, vehicles=3).truth) == records


def test_the_table_is_keyed_by_id_in_order() -> None:
    truth = Producer().truth
    assert all(int(row["id"]) == key for key, row in truth.items())
    assert list(truth) == sorted(truth)


def test_a_picture_of_the_truth_lasts() -> None:
    producer = Producer(records=100)
    picture = dict(producer.truth)
    text = json.dumps(picture)
    producer.advance(edits=20, soft_deletes=10)
    assert json.dumps(picture) == text
    assert picture != producer.truth


def test_deltas_applied_to_the_first_snapshot_give_the_last_but_for_hard_deletes() -> None:
    producer = Producer(seed=3)
    table = dict(producer.truth)
    for _ in range(7 * DAY):
        producer.advance()
        delta = rows_of(producer.changes()[1])
        assert all(producer.truth[int(row["id"])] == row for row in delta)
        table |= {int(row["id"]): row for row in delta}
    vanished = table.keys() - producer.truth.keys()
    assert vanished
    assert {key: row for key, row in table.items() if key not in vanished} == producer.truth


def test_a_delta_holds_the_rows_that_changed_and_no_others() -> None:
    producer = Producer(records=500)
    before = dict(producer.truth)
    producer.advance(fills=3, edits=4, soft_deletes=2, hard_deletes=5, resends=1)
    changed = {key for key, row in producer.truth.items() if before.get(key) != row}
    delta = [int(row["id"]) for row in rows_of(producer.changes()[1])]
    assert sorted(delta) == sorted(changed)


def test_a_delta_asked_again_in_the_same_hour_is_the_same_file() -> None:
    producer = Producer(records=50)
    producer.advance(fills=3)
    assert producer.changes() == producer.changes()
    producer.advance(fills=0, edits=0, soft_deletes=0, hard_deletes=0, resends=0)
    assert rows_of(producer.changes()[1]) == []


def test_each_happening_does_what_it_says() -> None:
    nothing = {"fills": 0, "edits": 0, "soft_deletes": 0, "hard_deletes": 0, "resends": 0}
    producer = Producer(records=400)
    now, before = producer.now, dict(producer.truth)

    producer.advance(2, **nothing)
    assert dict(producer.truth) == before
    assert producer.now == now + timedelta(hours=2)

    producer.advance(**nothing | {"fills": 3})
    assert [key for key in producer.truth if key not in before] == [max(before) + n for n in (1, 2, 3)]

    before = dict(producer.truth)
    producer.advance(**nothing | {"edits": 1})
    (key,) = (key for key in before if before[key] != producer.truth[key])
    fields = {field for field in COLUMNS if before[key][field] != producer.truth[key][field]}
    assert fields <= {"amount", "liters", "odometer", "type", "car", "datetime"}
    assert fields

    before = live(producer)
    producer.advance(**nothing | {"soft_deletes": 2})
    gone = before.keys() - live(producer).keys()
    assert len(gone) == 2
    for key in gone:
        at = datetime.fromisoformat(producer.truth[key]["deleted_at"]).replace(tzinfo=UTC)
        assert producer.now - timedelta(hours=1) < at <= producer.now
        assert {**producer.truth[key], "deleted_at": None} == before[key]

    before = dict(producer.truth)
    producer.advance(**nothing | {"hard_deletes": 4})
    assert len(before.keys() - producer.truth.keys()) == 4
    assert all(before[key] == row for key, row in producer.truth.items())

    before = dict(producer.truth)
    producer.advance(**nothing | {"resends": 1})
    (key,) = producer.truth.keys() - before.keys()
    copy = producer.truth[key]
    same = [field for field in COLUMNS if field not in {"id", "created_at", "amount", "car", "raw_message"}]
    (original,) = (row for row in before.values() if all(row[field] == copy[field] for field in same))
    assert (original["amount"] != copy["amount"]) != (original["car"] != copy["car"])
    reported, edited = (datetime.fromisoformat(row["created_at"]) for row in (original, copy))
    assert timedelta() <= edited - reported < timedelta(minutes=15)


def test_time_passes_by_whole_hours() -> None:
    with pytest.raises(ValueError, match="at least one: 0"):
        Producer(records=0).advance(0)


def test_an_empty_table_has_nothing_to_change() -> None:
    producer = Producer(records=0)
    producer.advance(fills=0, edits=2, soft_deletes=2, hard_deletes=2, resends=2)
    assert dict(producer.truth) == {}


def test_an_hour_brings_a_fill_now_and_then_and_a_day_about_twelve() -> None:
    producer = Producer(records=300)
    first, hours = max(producer.truth), []
    for _ in range(60 * DAY):
        last = max(producer.truth)
        producer.advance(edits=0, soft_deletes=0, hard_deletes=0, resends=0)
        hours.append(max(producer.truth) - last)
    assert set(hours) == {0, 1, 2, 3}
    assert 10 <= (max(producer.truth) - first) / 60 <= 14


def test_deltas_come_in_every_spelling_and_envelope() -> None:
    producer = Producer(records=300)
    keys, shapes, operations, empty, marks = Counter[str](), Counter[str](), Counter[str](), 0, 0
    for _ in range(30 * DAY):
        producer.advance()
        key, body = producer.changes()
        assert instant(key) == producer.now
        keys[re.sub(r"\d", "0", key)] += 1
        shape, metadata, entries = envelope(body)
        shapes[shape] += 1
        counts = [metadata[name] for name in ("record_count", "count", "total") if name in metadata]
        assert all(count == len(entries) for count in counts)
        operations.update(entry["op"] for entry in entries if "op" in entry)
        empty += entries == [{"success": True}]
        marks += body.startswith(b"\xef\xbb\xbf")
    assert len(keys) == 4
    assert shapes.keys() == {"records", "wrapped", "plain", "data", "changes"}
    assert shapes["records"] > 300
    assert operations.keys() == {"insert", "update", "delete"}
    assert empty
    assert 10 < marks < 80


def test_the_mess_is_there_in_its_measure(rows: list[Row]) -> None:
    assert 0.02 < share(isinstance(row["id"], str) for row in rows) < 0.08
    for field in ("liters", "amount"):
        assert 0.2 < share(isinstance(row[field], str) for row in rows) < 0.35
        assert any(str(row[field]).endswith(" ") for row in rows)
    assert any("," in str(row["amount"]) for row in rows)
    assert 0.005 < share(row["odometer"] is None for row in rows) < 0.02
    assert any(row["liters"] is None for row in rows)
    assert 0.05 < share(str(row["datetime"]).endswith("Z") for row in rows) < 0.11
    assert 0.85 < share(bool(re.fullmatch(r"202\d-\d\d-\d\d-\d\d-\d\d", str(row["datetime"]))) for row in rows) < 0.95
    assert any(row["datetime"] == "1970-01-01-03-00" for row in rows)
    assert 0.005 < share(bool(row["deleted_at"]) for row in rows) < 0.02
    assert len({row["department"] for row in rows}) >= 30
    assert {"DISIEL", "DEISEL", "AGO", "SUPER", "V-POWER", "V POWER", "FUEL", None} <= {row["type"] for row in rows}


def test_plates_come_in_every_spelling(rows: list[Row]) -> None:
    cars = [row["car"] for row in rows]
    shapes = (
        "[A-Z]+ [0-9]+[A-Z]+",
        "[A-Z]+[0-9]+[A-Z]+",
        "[A-Z]+-.*",
        "[a-z]+ .*",
        ".* PROBOX",
        " .*  .* ",
        ".*\u00a0.*",
    )
    assert all(any(re.fullmatch(shape, car) for car in cars) for shape in shapes)
    assert any(re.fullmatch("KM[A-Z]{2} ?[0-9]{3}[A-Z]", car) for car in cars)
    assert any(re.fullmatch("UA ?[0-9]{3}B[A-Z]", car) for car in cars)
    assert share(bool(re.fullmatch(r"[A-Z]+ ?\d{3}[A-Z]+", car)) for car in cars) > 0.8


def test_a_misread_number_differs_from_the_message_and_a_right_one_agrees(rows: list[Row]) -> None:
    slips = Counter[str]()
    for row in rows:
        found = re.search(r"Litres: ([\d.]+)\n", row["raw_message"])
        assert found
        typed, seen = float(found[1]), row["liters"]
        if seen is None:
            slips["lost"] += 1
        elif abs(float(seen) / typed - 10) < 0.1:
            slips["ten times"] += 1
        elif float(seen) == int(typed) != typed:
            slips["cut"] += 1
        elif float(seen) == typed:
            slips["right"] += 1
    assert {"lost", "ten times", "cut"} < slips.keys()
    assert slips["right"] > 0.95 * len(rows)


def test_odometers_move_with_the_fuel_of_the_vehicle() -> None:
    histories: dict[str, list[tuple[float, int]]] = {}
    seen_before = set[Any]()
    for row in Producer(seed=5).truth.values():
        if row["odometer"] is not None and (row["driver"], row["odometer"]) in seen_before:
            continue  # a message whose plate was edited
        seen_before.add((row["driver"], row["odometer"]))
        found = re.search(r"Car: (.*)\n(?s:.*)Litres: (.*)\nAmount.*\nOdometer: (\d+) km", row["raw_message"])
        assert found
        histories.setdefault(found[1], []).append((float(found[2]), int(found[3])))
    assert len(histories) == 82
    for plate, fills in histories.items():
        odometers = [km for _, km in fills]
        assert odometers == sorted(odometers), plate
        spans = [(km - last) / litres for (_, last), (litres, km) in pairwise(fills) if km > last]
        low, high = (25, 56) if plate.startswith("KM") else (1.6, 18)
        assert low < median(spans) < high, plate


def test_people_fill_up_before_work_and_on_the_way_home(rows: list[Row]) -> None:
    reported = [datetime.fromisoformat(f"{row['created_at']}+00:00") + timedelta(hours=3) for row in rows]
    hours = Counter(at.hour for at in reported)
    assert min(hours[7], hours[8], hours[17]) > max(hours[11], hours[12], hours[20]) > 5 * max(hours[1], hours[3])
    assert all(sum(hours[hour] for hour in part) for part in (range(6), range(21, 24)))


def test_prices_follow_the_cycle(rows: list[Row]) -> None:
    prices = [
        float(str(row["amount"]).replace(",", "")) / float(str(row["liters"]).replace(",", ""))
        for row in rows
        if row["liters"] is not None and row["amount"] is not None
    ]
    assert 0.9 < share(160 < price < 205 for price in prices) < 1


@pytest.mark.parametrize(("mode", "expected"), [("never", {False}), ("sometimes", {True, False}), ("always", {True})])
def test_updated_at_is_there_as_asked(mode: Literal["never", "sometimes", "always"], expected: set[bool]) -> None:
    producer = Producer(records=300, updated_at=mode)
    assert {"updated_at" in row for row in producer.truth.values()} == expected
    before = dict(producer.truth)
    producer.advance(6, edits=30, soft_deletes=5)
    changed = [(before[key], row) for key, row in producer.truth.items() if before.get(key, row) != row]
    assert changed
    for was, row in changed:
        assert ("updated_at" in was) == ("updated_at" in row)
        if "updated_at" in row:
            at = datetime.fromisoformat(row["updated_at"]).replace(tzinfo=UTC)
            assert was["updated_at"] < row["updated_at"]
            assert producer.now - timedelta(hours=6) < at <= producer.now


def test_the_way_rows_are_stamped_changes_nothing_else() -> None:
    def plain(mode: Literal["never", "sometimes", "always"]) -> list[Row]:
        rows = Producer(records=300, updated_at=mode).truth.values()
        return [{field: row[field] for field in COLUMNS} for row in rows]

    assert plain("never") == plain("sometimes") == plain("always")


def test_devices_match_most_fills_and_one_vehicle_carries_two(rows: list[Row]) -> None:
    devices = Producer().devices()
    numbers = Counter(device["vehicle_number"].replace(" ", "") for device in devices if device["vehicle_number"])
    assert sorted(numbers.values())[-2:] == [1, 2]
    imeis = {device["imei"] for device in devices}
    assert len(imeis) == len(devices)
    assert all(re.fullmatch(r"\d{15}", str(imei)) for imei in imeis)
    for field in ("vehicle_number", "cost_centre", "assigned_city"):
        assert {device[field] is None for device in devices} == {True, False}
    plates = [re.sub(r"(?s).*Car: (\w+) (\w+)\n.*", r"\1\2", row["raw_message"]) for row in rows]
    assert 0.92 < share(plate in numbers for plate in plates) < 0.96


def test_no_plate_has_the_letters_that_plates_never_have() -> None:
    for row in Producer(seed=9, vehicles=500, records=2_000).truth.values():
        found = re.search("Car: (.*)\n", row["raw_message"])
        assert found
        assert not set(found[1]) & {"I", "O"}


@pytest.mark.parametrize("records", [0, 1, 3_999, 4_000, 4_001, 12_345])
def test_a_written_snapshot_holds_every_id_once(tmp_path: Path, records: int) -> None:
    write_snapshot(tmp_path / "latest.json", records=records)
    document = read((tmp_path / "latest.json").read_bytes())
    assert document["metadata"]["record_count"] == records
    assert [int(row["id"]) for row in document["records"]] == list(range(1, records + 1))


def test_a_written_snapshot_is_as_heavy_and_as_messy_as_the_feed(tmp_path: Path) -> None:
    path = tmp_path / "latest.json"
    write_snapshot(path, records=20_000)
    assert 400 <= path.stat().st_size / 20_000 <= 430
    rows = read(path.read_bytes())["records"]
    assert all(list(row) == COLUMNS for row in rows)
    assert {type(row["amount"]) for row in rows} == {int, str}
    assert {type(row["id"]) for row in rows} == {int, str}
    plates = {re.sub(r"(?s).*Car: (.*?)\n.*", r"\1", row["raw_message"]) for row in rows}
    assert len(plates) == 5 * 82
    first, second = rows[0], rows[4_000]
    assert re.sub(r"\d{3}", "", first["car"]) == re.sub(r"\d{3}", "", second["car"])
    assert first["car"] != second["car"]


def test_a_changed_share_changes_that_share_and_only_amounts(tmp_path: Path) -> None:
    for name, changed in (("before", 0.0), ("again", 0.0), ("after", 0.01), ("all", 1.0)):
        write_snapshot(tmp_path / name, records=10_000, seed=4, changed_share=changed)
    assert (tmp_path / "before").read_bytes() == (tmp_path / "again").read_bytes()
    before, after, every = (read((tmp_path / name).read_bytes()) for name in ("before", "after", "all"))
    pairs = [(was, row) for was, row in zip(before["records"], after["records"], strict=True) if was != row]
    assert len(pairs) == 100
    assert all({field for field in COLUMNS if was[field] != row[field]} == {"amount"} for was, row in pairs)
    assert all(was != row for was, row in zip(before["records"], every["records"], strict=True))
    assert after["metadata"]["exported_at"] > before["metadata"]["exported_at"]


def test_memory_does_not_grow_with_a_written_snapshot(tmp_path: Path) -> None:
    def peak(records: int) -> int:
        tracemalloc.start()
        write_snapshot(tmp_path / "latest.json", records=records)
        seen = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return seen

    small = peak(8_000)
    assert peak(24_000) < small + 1_000_000
    assert (tmp_path / "latest.json").stat().st_size > 9_000_000


def test_the_module_imports_nothing_heavy() -> None:
    code = "import sys, fleetfuel.sandbox.producer; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not {"polars", "pyarrow", "boto3", "pandera", "adbc_driver_postgresql"} & set(run.stdout.split())

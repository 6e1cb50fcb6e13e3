from __future__ import annotations

import gzip
import mmap
import os
import zlib
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from fleetfuel import errors
from fleetfuel.feed import download, local, spool
from fleetfuel.feed.keys import parse_instant
from fleetfuel.feed.local import open_files

NAIROBI = ZoneInfo("Africa/Nairobi")


# --- the instant in a key -----------------------------------------------------------------------------------------


def packed(body: bytes) -> bytes:
    """gzip without the time of day, so that a test keeps its name."""
    return gzip.compress(body, mtime=0)


@pytest.mark.parametrize(
    ("name", "instant"),
    [
        ("2026-06-11T20-24-33.json", "17:24:33"),
        ("2026-06-11T20:24:33.json", "17:24:33"),
        ("2026-06-11T17:24:33.123Z.json", "17:24:33.123"),
        ("2026-06-11T17-24-33.000Z.json", "17:24:33"),
        ("2026-06-11T17-24-33-123Z.json", "17:24:33.123"),
        ("2026-06-11T17:24:33,5Z.json", "17:24:33.5"),
        ("2026-06-11T17:24:33.123456789Z.json", "17:24:33.123456"),
        ("2026-06-11t17:24:33z.json", "17:24:33"),
        ("2026-06-11T20:24:33+03:00.json", "17:24:33"),
        ("2026-06-11T20-24-33+03-00.json", "17:24:33"),
        ("2026-06-11T20-24-33+0300.json", "17:24:33"),
        ("2026-06-11T20-24-33+03.json", "17:24:33"),
        ("2026-06-11T12:24:33-05:00.json", "17:24:33"),
        ("2026-06-11T20:24:33.250+03:00.json", "17:24:33.25"),
        ("2026-06-11T20-24-33 EAT.json", "17:24:33"),
        ("2026-06-11T17-24-33_UTC.json", "17:24:33"),
        ("2026-06-11T20-24.json", "17:24:00"),
        ("2026-06-11T20:24+03:00.json", "17:24:00"),
        ("2026-06-11_20-24-33.json", "17:24:33"),
        ("2026-06-11 20:24:33.json", "17:24:33"),
        ("2026-06-11-20-24-33.json", "17:24:33"),
        ("2026-06-11-20-24.json", "17:24:00"),
        ("2026-06-11T202433.json", "17:24:33"),
        ("20260611T172433Z.json", "17:24:33"),
        ("20260611_202433.json", "17:24:33"),
        ("20260611202433.json", "17:24:33"),
        ("2026-06-11T20-24-33.json.gz", "17:24:33"),
        ("2026-06-11T20-24-33.JSON", "17:24:33"),
        ("2026-06-11T20-24-33", "17:24:33"),
        ("changes-2026-06-11T20-24-33.json", "17:24:33"),
        ("12_2026-06-11T20-24-33_part2.json", "17:24:33"),
        ("2026-06-11T20-24-33 (1).json", "17:24:33"),
        ("2026-06-11T20-24-33-delta.json", "17:24:33"),
        ("2026-06-11T20%3A24%3A33%2B03%3A00.json", "17:24:33"),
        ("2026/06/11/20-24-33.json", "17:24:33"),
        ("2026-06-11/20-24.json", "17:24:00"),
        ("2026/06/11/17:24:33Z.json", "17:24:33"),
        ("2026-06-10/2026-06-11T20-24-33.json", "17:24:33"),
    ],
)
def test_a_key_holds_an_instant(name: str, instant: str) -> None:
    assert parse_instant(f"fuel_records/changes/{name}", NAIROBI) == datetime.fromisoformat(f"2026-06-11T{instant}Z")


@pytest.mark.parametrize(
    "name",
    [
        "latest.json",
        "",
        "1781205873.json",
        "2026-06-11.json",
        "2026-06.json",
        "20-24-33.json",
        "2026-13-11T20-24-33.json",
        "2026-02-29T20-24-33.json",
        "2026-06-11T24-00-00.json",
        "2026-06-11T20-60-00.json",
        "2026-06-11T20-24-60.json",
        "0000-00-00T00-00-00.json",
        "1970-01-01T03-00-00.json",
        "12026-06-11T20-24-33.json",
        "2026-06-11T20-24-330.json",
        "2026-06-11T20-24-3.json",
        "2026-06-11T20-24-33-0300.json",
        "2026-06-11T20-24-33-03.json",
        "2026-06-11T20-24-33 03:00.json",
        "2026-06-11T20-24-33+99:00.json",
        "2026-06-11T20-24-33+03:75.json",
        "2026-06-11T08-24-33 PM.json",
        "2026-06-11T08-24-33pm.json",
        "2026-06-11T20-24-33 CET.json",
        "2026-06-11-202433.json",
        "2026-06-11_2024.json",
        "2026-06-11_0001.json",
        "20260611-0001.json",
        "20260611.json",
        "2026-06-11T10-00-00_2026-06-11T11-00-00.json",
        "2026-06-10_to_2026-06-11T11-00-00.json",
        "11-06-2026T20-24-33.json",
        "２０２６-06-11T20-24-33.json",
    ],
)
def test_a_key_that_can_be_read_in_two_ways_or_none_holds_no_instant(name: str) -> None:
    assert parse_instant(f"fuel_records/changes/{name}", NAIROBI) is None


def test_the_zone_is_that_of_the_setting_only_if_the_key_names_none() -> None:
    assert parse_instant("2026-06-11T20-24-33.json", UTC) == datetime(2026, 6, 11, 20, 24, 33, tzinfo=UTC)
    assert parse_instant("2026-06-11T20-24-33Z.json", NAIROBI) == datetime(2026, 6, 11, 20, 24, 33, tzinfo=UTC)
    west = timezone(timedelta(hours=-5))
    assert parse_instant("2026-06-11T20-24-33.json", west) == datetime(2026, 6, 12, 1, 24, 33, tzinfo=UTC)


def test_a_local_time_that_a_change_of_clocks_repeats_or_skips_is_no_instant() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    assert parse_instant("2026-10-25T02-30-00.json", berlin) is None
    assert parse_instant("2026-03-29T02-30-00.json", berlin) is None
    assert parse_instant("2026-10-25T02-30-00+02:00.json", berlin) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert parse_instant("2026-10-25T03-30-00.json", berlin) == datetime(2026, 10, 25, 2, 30, tzinfo=UTC)


def test_every_instant_comes_back_from_the_ways_it_is_written() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    for hours in range(0, 24 * 400, 7):
        instant = start + timedelta(hours=hours, minutes=hours % 60, seconds=hours * 7 % 60)
        local = instant.astimezone(NAIROBI)
        for name in (
            f"{local:%Y-%m-%dT%H-%M-%S}.json",
            f"{instant:%Y-%m-%dT%H:%M:%S}Z.json",
            f"{instant:%Y-%m-%dT%H-%M-%S}.000Z.json",
            local.isoformat() + ".json",
            f"{instant:%Y%m%dT%H%M%SZ}.json",
            f"{local:%Y/%m/%d/%H-%M-%S}.json",
        ):
            assert parse_instant(name, NAIROBI) == instant, name


# --- local files --------------------------------------------------------------------------------------------------


def write(path: Path, content: bytes, mtime: float = 1_780_000_000) -> Path:
    path.write_bytes(content)
    os.utime(path, (mtime, mtime))
    return path


def test_files_come_in_time_order_with_their_bytes(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / "2026-06-11T20-24-33.json", b"[1]"),
        write(tmp_path / "2026-06-11T16:24:33Z.json", b"\xef\xbb\xbf[2]"),
        write(tmp_path / "by hand.json", b"", mtime=datetime(2026, 6, 11, 17, tzinfo=UTC).timestamp()),
    ]
    with open_files(paths, reading="changes", timezone=NAIROBI) as delivery:
        assert [bytes(each.content) for each in delivery.files] == [b"\xef\xbb\xbf[2]", b"", b"[1]"]
        assert [each.size for each in delivery.files] == [6, 0, 3]
        assert delivery.files[1].key_at is None
        assert delivery.files[1].modified_at == datetime(2026, 6, 11, 17, tzinfo=UTC)
        assert delivery.files[2].key == str(paths[0])
        assert (delivery.reading, delivery.source, delivery.unreadable) == ("changes", "3 local files", ())


def test_one_file_is_named_as_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "latest.json", b"{}")
    with open_files([Path("latest.json")], reading="snapshot", timezone=NAIROBI) as delivery:
        assert (delivery.reading, delivery.source) == ("snapshot", "latest.json")


def test_the_etag_tells_content_from_content_and_nothing_else(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / "a.json", b"[1]"),
        write(tmp_path / "b.json", b"[1]", 1),
        write(tmp_path / "c.json", b"[2]"),
    ]
    with open_files(paths, reading="changes", timezone=NAIROBI) as delivery:
        etags = {Path(each.key).name: each.etag for each in delivery.files}
    assert etags["a.json"] == etags["b.json"] != etags["c.json"]


def test_small_files_are_out_of_reach_of_whoever_changes_them(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", b"[1, 2, 3]")
    with open_files([path], reading="snapshot", timezone=NAIROBI) as delivery:
        path.write_bytes(b"")
        assert bytes(delivery.files[0].content) == b"[1, 2, 3]"


def test_large_files_are_mapped_where_they_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "MAPPED_FROM", 10)
    monkeypatch.setattr(spool.Spool, "write", None)
    path = write(tmp_path / "a.json", b"[" + b"1," * 50_000 + b"1]")
    with open_files([path], reading="snapshot", timezone=NAIROBI) as delivery:
        assert isinstance(delivery.files[0].content.obj, mmap.mmap)
        assert delivery.files[0].content == path.read_bytes()
        mapped = delivery.files[0].etag
    monkeypatch.undo()
    with open_files([path], reading="snapshot", timezone=NAIROBI) as delivery:
        assert delivery.files[0].etag == mapped


def test_gzip_is_inflated_whatever_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "MAPPED_FROM", 10)
    body = b"[" + b"1," * 3_000_000 + b"1]"
    padded = gzip.compress(body[:1000]) + packed(b"") + gzip.compress(body[1000:]) + bytes(512)
    paths = [write(tmp_path / "2026-06-11T20-24-33.json", gzip.compress(body)), write(tmp_path / "b.json.gz", padded)]
    with open_files(paths, reading="changes", timezone=NAIROBI) as delivery:
        assert [each.content == body for each in delivery.files] == [True, True]
        assert [each.size for each in delivery.files] == [len(body)] * 2


def bomb(inflated: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    return b"".join(packer.compress(bytes(2**20)) for _ in range(inflated // 2**20)) + packer.flush()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (packed(b"[1, 2, 3]")[:-9], "its gzip is cut off"),
        (packed(b"[1, 2, 3]")[:-8] + bytes(8), "its gzip is damaged (Error -3 while decompressing data: "),
        (packed(b"[1]") + b"[2]", "its gzip is damaged (Error -3 while decompressing data: incorrect header"),
        (b"\x1f\x8b", "its gzip is cut off"),
        (bomb(65 * 2**20), "its gzip inflates "),
    ],
)
def test_bad_gzip_stops_a_snapshot_and_is_reported_of_changes(content: bytes, reason: str, tmp_path: Path) -> None:
    bad = write(tmp_path / "2026-06-11T20-24-33.json", content)
    good = write(tmp_path / "2026-06-11T21-24-33.json", b"[1]")
    with open_files([bad, good], reading="changes", timezone=NAIROBI) as delivery:
        assert [bytes(each.content) for each in delivery.files] == [b"[1]"]
        (lost,) = delivery.unreadable
        assert (lost.key, lost.at, lost.is_lasting) == (str(bad), datetime(2026, 6, 11, 17, 24, 33, tzinfo=UTC), True)
        assert lost.reason.startswith(reason)
    with (
        pytest.raises(errors.BadInput, match=r"20-24-33\.json: its gzip"),
        open_files([bad], reading="snapshot", timezone=NAIROBI),
    ):
        pass


def test_a_body_that_shrinks_well_is_no_bomb(tmp_path: Path) -> None:
    row = b'{"id": %d, "car": "KCA 542Q", "driver": "A DRIVER", "liters": "40.50", "department": "LOGISTICS"},'
    body = b"[" + b"".join(row % number for number in range(800_000)) + b"0]"
    assert len(body) > spool.INFLATED_FREE
    path = write(tmp_path / "latest.json", gzip.compress(body, 9))
    with open_files([path], reading="snapshot", timezone=NAIROBI) as delivery:
        assert delivery.files[0].content == body


def test_a_pipe_is_read_to_its_end() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"[1]")
    os.close(writer)
    with open_files([Path(f"/dev/fd/{reader}")], reading="snapshot", timezone=NAIROBI) as delivery:
        assert bytes(delivery.files[0].content) == b"[1]"
    os.close(reader)


def test_what_is_no_file_is_reported_by_its_path(tmp_path: Path) -> None:
    file = write(tmp_path / "a.json", b"[]")
    for path, reported in (
        (tmp_path / "b.json", r"b\.json does not exist: No such file or directory"),
        (tmp_path, r"it is a folder\.\nName the files in it: --file .*/\*\.json"),
        (file / "c.json", r"c\.json does not exist: Not a directory"),
    ):
        with (
            pytest.raises(errors.SourceNotFound, match=reported) as caught,
            open_files([path], reading="snapshot", timezone=NAIROBI),
        ):
            pass
        assert caught.value.exit_code == 66


def test_a_file_that_may_not_be_read_is_reported_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, really_open = tmp_path / "a.json", os.open

    def refuse(name: str | Path, *more: int) -> int:
        if name == path:
            raise PermissionError(13, "Permission denied")
        return really_open(name, *more)

    monkeypatch.setattr(os, "open", refuse)
    with (
        pytest.raises(errors.PermissionDenied, match=r"^Reading .*a\.json was refused: Permission denied") as caught,
        open_files([path], reading="snapshot", timezone=NAIROBI),
    ):
        pass
    assert caught.value.exit_code == 77


def test_nothing_is_left_in_the_temporary_folder_even_while_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.json.gz", packed(b"[1]"))
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    with open_files([path], reading="snapshot", timezone=NAIROBI) as delivery:
        assert bytes(delivery.files[0].content) == b"[1]"
        assert list(folder.iterdir()) == []


def test_a_temporary_folder_that_is_not_there_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "gone"))
    with (
        pytest.raises(errors.SpoolFull, match=r"no room to download to in .*gone: No such file") as caught,
        open_files([write(tmp_path / "a.json", b"[1]")], reading="snapshot", timezone=NAIROBI),
    ):
        pass
    assert caught.value.exit_code == 73


def test_bytes_still_in_use_outlive_the_delivery(tmp_path: Path) -> None:
    with open_files([write(tmp_path / "a.json", b"[1]")], reading="snapshot", timezone=NAIROBI) as delivery:
        kept = delivery.files[0].content[1:2]
    assert bytes(kept) == b"1"


# --- ETags of uploads in parts ------------------------------------------------------------------------------------


def test_part_sizes_are_those_that_give_the_number_of_parts() -> None:
    mebibyte = 2**20
    assert download._part_sizes(100 * mebibyte, 13) == [8 * mebibyte]
    assert download._part_sizes(100_000_000, 20) == [5 * mebibyte, 5_000_000]
    assert download._part_sizes(3, 1)[0] == 5 * mebibyte
    assert download._part_sizes(2**41, 1) == [2**41]
    assert download._part_sizes(100 * mebibyte, 99) == []

"""What shows that a snapshot is not complete, and how its announced number fits."""

from __future__ import annotations

import json

import pytest

from fleetfuel.records.complete import CountFit, Marker, fit_count, names_marker, read_marker, shows_partial


@pytest.mark.parametrize(
    "said",
    [
        {"has_more": True},
        {"hasMore": "true"},
        {"truncated": 1},
        {"partial": "yes"},
        {"incomplete": True},
        {"complete": False},
        {"is_complete": "no"},
        {"success": False},
        {"ok": 0},
        {"next": "https://x"},
        {"next_page": 2},
        {"next_cursor": "abc"},
        {"error": "E"},
        {"error": {"code": "E"}},
        {"status": "partial"},
        {"status": " Failed "},
        {"page": "1 of 2"},
        {"page": "page 1/2"},
        {"page": 2},
        {"total_pages": 2},
        {"pages": "3"},
        {"page": 1, "last_page": 2},
        {"Has-More": True},
        {"truncated": "at 39 rows"},
        {"nextPageToken": "abc"},
        {"@odata.nextLink": "https://x"},
        {"errors": [{"message": "E"}]},
        {"failed": 3},
        {"status": "in progress"},
        {"status": False},
        {"status": 206},
        {"statusCode": 500},
        {"state": "RUNNING"},
        {"pagination": {"has_more": True}},
        {"page": {"number": 0, "totalPages": 2}},
        {"links": {"next": "https://x"}},
        {"result": {"status": "failed"}},
    ],
)
def test_a_file_that_says_it_is_a_part_is_one(said: dict[str, object]) -> None:
    assert shows_partial(said)


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"has_more": False},
        {"truncated": None},
        {"truncated": 0},
        {"complete": True},
        {"success": True},
        {"ok": 1},
        {"next": None},
        {"next_page": ""},
        {"next_cursor": " "},
        {"error": None},
        {"error": False},
        {"error": ""},
        {"error": {}},
        {"status": "ok"},
        {"status": 200},
        {"page": 1},
        {"page": "1 of 1"},
        {"pages": 1},
        {"page": 1, "total_pages": 1},
        {"record_count": 2},
        {"page": True},
        {"source": "partial"},
        {"truncated": "none"},
        {"errors": []},
        {"failed": 0},
        {"code": 1200},
        {"depot": {"has_more": True}},
        {"pagination": {"has_more": False, "total_pages": 1}},
        {"links": {"next": None}},
    ],
)
def test_a_file_that_says_nothing_of_the_kind_is_whole(said: dict[str, object]) -> None:
    assert shows_partial(said) is None


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ({"success": True}, Marker.SUCCESS),
        ({"ok": 1}, Marker.SUCCESS),
        ({"status": "done"}, Marker.SUCCESS),
        ({"success": True, "code": 200}, Marker.SUCCESS),
        ({"success": True, "error": None}, Marker.SUCCESS),
        ({}, Marker.OTHER),
        ({"message": "hello"}, Marker.OTHER),
        ({"code": 399}, Marker.OTHER),
        ([], Marker.OTHER),
        ({"error": "E"}, Marker.ERROR),
        ({"success": False}, Marker.ERROR),
        ({"code": 400}, Marker.ERROR),
        ({"status": 500}, Marker.ERROR),
        ({"code": "500"}, Marker.ERROR),
        ({"stack": "at x"}, Marker.ERROR),
        ({"success": True, "error": "E"}, Marker.ERROR),
        ({"statusCode": 500, "message": "E"}, Marker.ERROR),
        ({"errors": ["E"]}, Marker.ERROR),
        ({"code": 50013}, Marker.ERROR),
        ({"errno": -110}, Marker.ERROR),
    ],
)
def test_what_a_marker_says(said: object, kind: Marker) -> None:
    assert read_marker(json.dumps(said).encode()) is kind


@pytest.mark.parametrize(
    ("fields", "is_one"),
    [
        ("", True),
        ("success message", True),
        ("statusCode error message", True),
        ("type title status detail error", True),
        ("name message stack node context", True),
        ("name type", False),
        ("error car", False),
        ("error id", False),
        ("type", False),
    ],
)
def test_which_objects_are_of_the_exporter_about_itself(fields: str, is_one: bool) -> None:
    assert names_marker(fields.split()) is is_one


OK, BAD, ODD = Marker.SUCCESS, Marker.ERROR, Marker.OTHER


@pytest.mark.parametrize(
    ("declared", "elements", "markers", "fit"),
    [
        (None, 3, [], CountFit.FITS),
        (3, 3, [], CountFit.FITS),
        (2, 3, [], CountFit.DIFFERS),
        (4, 3, [], CountFit.DIFFERS),
        (2, 3, [ODD], CountFit.FITS),
        (2, 3, [OK], CountFit.FITS),
        (3, 3, [OK], CountFit.FITS),
        (3, 3, [ODD], CountFit.BY_MARKERS),
        (3, 3, [BAD], CountFit.BY_MARKERS),
        (3, 3, [OK, ODD], CountFit.BY_MARKERS),
        (2, 3, [OK, OK], CountFit.DIFFERS),
        (4, 3, [OK], CountFit.DIFFERS),
    ],
)
def test_how_an_announced_number_fits(
    declared: int | None, elements: int, markers: list[Marker], fit: CountFit
) -> None:
    assert fit_count(declared, elements, markers) is fit

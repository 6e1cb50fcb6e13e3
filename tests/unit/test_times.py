"""When a file was true: what it claims, when it was written, and now."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from fleetfuel.model.files import SourceFile
from fleetfuel.model.records import Cut
from fleetfuel.records import envelope
from fleetfuel.records.times import believe_time
from fleetfuel.records.values import EAST_AFRICA

NOON = datetime(2026, 6, 11, 12, tzinfo=UTC)
NOW = NOON + timedelta(days=10)
HOUR = timedelta(hours=1)


def cut(exported: datetime | str | None, written: datetime, key_at: datetime | None = None) -> Cut:
    said = f'"exported_at": "{exported if isinstance(exported, str) else exported.isoformat()}"' if exported else ""
    content = f'{{"metadata": {{{said}}}, "records": []}}'.encode()
    file = SourceFile(
        key="k", etag="e", size=len(content), modified_at=written, key_at=key_at, content=memoryview(content)
    )
    return envelope.cut_file(file, EAST_AFRICA)


@pytest.mark.parametrize(
    ("exported", "written", "key_at", "believed", "is_noticed"),
    [
        (NOON, NOON + HOUR, None, NOON, False),
        (NOON, NOON, None, NOON, False),
        (NOON + 3 * HOUR, NOON, None, NOON, True),
        (NOON + timedelta(seconds=60), NOON, None, NOON, False),
        (NOON + timedelta(seconds=61), NOON, None, NOON, True),
        (NOON + 24 * HOUR, NOON, None, NOON, True),
        (NOON + 25 * HOUR, NOON, None, NOON + 25 * HOUR, False),
        (None, NOON, NOON - HOUR, NOON - HOUR, False),
        (None, NOON, NOON + HOUR, NOON, True),
        (None, NOON, None, NOON, False),
        ("2026-06-11", NOON, None, NOON, False),
        ("2026-06-11", NOON, NOON - HOUR, NOON - HOUR, False),
        (None, datetime(2046, 1, 1, tzinfo=UTC), None, NOW, True),
        (NOON, datetime(2046, 1, 1, tzinfo=UTC), None, NOON, False),
        (datetime(2046, 1, 1, tzinfo=UTC), NOON, None, NOON, True),
        (datetime(2046, 1, 1, tzinfo=UTC), NOON, NOON - HOUR, NOON - HOUR, True),
        (NOON, datetime(2001, 1, 1, tzinfo=UTC), None, NOON, False),
        (NOW + 24 * HOUR, NOW + 30 * HOUR, None, NOW, True),
        (NOW + 2 * HOUR, NOW - HOUR, None, NOW - HOUR, True),
    ],
)
def test_no_file_is_newer_than_its_writing_nor_than_now(
    exported: datetime | str | None, written: datetime, key_at: datetime | None, believed: datetime, is_noticed: bool
) -> None:
    found = believe_time(cut(exported, written, key_at), NOW)
    assert found.file_at == believed
    assert len(found.remarks) == is_noticed

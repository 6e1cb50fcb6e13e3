"""Escape sequences in values, names, keys and metadata: nothing of them reaches a terminal, a log or a dashboard."""

from __future__ import annotations

import json
import unicodedata
from typing import Final

import pytest

from .stage import Stage

NASTY: Final = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e\u2066\u200b\ufeff\U000e0041"
OBEYED: Final = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")

RECORDS: Final = [
    {"id": 1, "car": f"KCA 542Q {NASTY}", "driver": NASTY, "department": NASTY, "type": NASTY, "liters": NASTY},
    {"id": 2, NASTY: NASTY, "car": "KDA 717B", "amount": f"7{NASTY}", "odometer": f"{NASTY}1"},
    {"id": NASTY, "car": NASTY},
    NASTY,
]


def obeyed(text: str) -> list[str]:
    return sorted({f"U+{ord(each):04X}" for each in text if each != "\n" and unicodedata.category(each) in OBEYED})


def put(stage: Stage, name: str, records: list[object], **metadata: str) -> None:
    content = {"metadata": {"exported_at": "2026-06-11T12:00:00Z", **metadata}, "records": records}
    stage.put((f"fuel_records/{name}", json.dumps(content, ensure_ascii=False).encode()))


@pytest.mark.parametrize("form", ["text", "json"])
def test_nothing_that_a_terminal_obeys_comes_out(stage: Stage, form: str) -> None:
    stage.env["FLEETFUEL_LOG"] = form
    put(stage, "latest.json", list(RECORDS), source=NASTY)
    said = [stage.run("-v", "import", "--snapshot", "--max-rejects", "99%", "--apply")]
    changed = [{**RECORDS[0], "driver": f"x{NASTY}", "liters": 5}, {**RECORDS[1], "amount": 5}]  # type: ignore[dict-item]
    put(stage, f"changes/2026-06-11T13-00-00{NASTY[:8]}.json", list(changed))
    said += [
        stage.run(*command)
        for command in (
            ("import", "--changes"),
            ("import", "--changes", "--apply", "--max-updates", "99%", "--max-rejects", "99%"),
            ("import", "--snapshot", "--json", "--max-rejects", "99%"),
            ("import", "--snapshot", "--apply"),
            ("runs",),
            ("runs", "last"),
            ("runs", "last", "--json"),
            ("rejects", "--personal"),
            ("rejects", "--json"),
            ("history", "1", "--personal"),
            ("history", "2", "--json"),
            ("doctor", "--json"),
            ("doctor",),
            ("status",),
        )
    ]
    for done in said:
        assert done.code in (0, 1, 2, 3, 65, 66, 78), done
        assert obeyed(done.out) == [], done.out
        assert obeyed(done.err) == [], done.err
    (health,) = stage.sql("select string_agg(h::text, ' ') as said from reporting.v_ingest_health as h")
    assert obeyed(health["said"]) == []
    for line in stage.sql("select message, summary ->> 'remarks' as remarks from fuel.ingest_runs"):
        assert obeyed(f"{line['message']} {line['remarks']}") == []

"""rules/README.md explains every code of the rules, and none that is not there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from fleetfuel.plan.guards import GUARDS
from fleetfuel.records.ids import why_no_id
from fleetfuel.records.rows import LEGIBLE
from fleetfuel.rules.book import load_rules

TEXT: Final = (Path(__file__).parents[2] / "rules" / "README.md").read_text(encoding="utf-8")
RULES: Final = load_rules()


def named(heading: str) -> list[str]:
    """The codes in the first column of the table with this heading."""
    table = TEXT.partition(f"| {heading}")[2].partition("\n\n")[0]
    first = [line.split("|")[1] for line in table.splitlines() if line.startswith("| ")]
    return sorted(code for cell in first for code in re.findall(r"`([a-z_]+)`", cell))


def test_every_check_of_a_record_is_explained() -> None:
    assert named("checks of a record") == sorted(check.code for check in RULES.checks)


def test_every_guard_is_explained() -> None:
    assert named("guards of a run") == sorted(guard.code for guard in GUARDS if guard.code)


def test_every_finding_about_fills_is_explained() -> None:
    assert named("`reporting.v_fuel_anomalies`") == sorted(anomaly.code for anomaly in RULES.anomalies)


def test_every_reason_that_no_rule_can_lift_is_listed() -> None:
    listed = set(re.findall(r"`([a-z0-9_]+)`", TEXT.partition("Rejected whatever the rules say")[2]))
    assert listed == {*LEGIBLE, "not_an_object", "invalid_utf8"} | {
        why_no_id(given)[0] for given in (None, "9" * 20, "x")
    }

"""The dashboard and the alert rules: in Grafana's own forms, and every query runs as `grafana_ro`, whatever is chosen.

No Grafana is at hand. What it does to a query before PostgreSQL sees it is done here as its data source does it: macros
by name and arguments, variables with several values as a list of literals.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import alerting
from grafana_foundation_sdk.models import dashboard as dashboards
from table import NewRole

from fleetfuel.report import alerts, grafana

from .stage import Stage

MACRO: Final = re.compile(r"\$([_a-zA-Z0-9]+)\(([^)]*)\)")
"""As Grafana's PostgreSQL data source finds macros."""

Range = tuple[datetime, datetime]


def expanded(sql: str, between: Range, chosen: Mapping[str, Sequence[str]]) -> str:
    """The query as PostgreSQL gets it."""

    def variable(found: re.Match[str]) -> str:
        return ",".join("'" + value.replace("'", "''") + "'" for value in chosen[found[1] or found[2]])

    def macro(found: re.Match[str]) -> str:
        since, until = (f"'{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}'" for moment in between)
        arguments = [each.strip(" ") for each in found[2].split(",")]
        known = {"__timeFilter": f"{arguments[0]} BETWEEN {since} AND {until}", "__timeFrom": since, "__timeTo": until}
        return known[found[1]]

    names = "|".join(chosen)
    return MACRO.sub(macro, re.sub(rf"\$({names})\b|\$\{{({names})\}}", variable, sql))


def queries(board: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["rawSql"]


def round_trip(model: Any, value: Any) -> Any:
    register_default_plugins()
    return json.loads(JSONEncoder().encode(model.from_json(json.loads(json.dumps(value)))))


def lost(before: Any, after: Any, where: str = "") -> Iterator[str]:
    """What Grafana's types do not know, or read otherwise."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name, value in before.items():
            yield from lost(value, after[name], f"{where}.{name}") if name in after else [f"{where}.{name}"]
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from lost(one, other, f"{where}[{number}]")
    elif before != after:
        yield f"{where}: {before!r} is read as {after!r}"


# --- forms --------------------------------------------------------------------------------------------------------


def test_the_dashboard_is_one_in_grafanas_own_types() -> None:
    board = grafana.dashboard()
    assert list(lost(board, round_trip(dashboards.Dashboard, board))) == []
    numbers = [panel["id"] for panel in board["panels"]]
    assert len(numbers) == len(set(numbers))


def test_panels_do_not_lie_on_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in grafana.dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert all(x < 24 for x, _ in cells)
        assert not cells & taken
        taken |= cells


def test_the_alert_rules_are_rules_in_grafanas_own_types() -> None:
    (group,) = alerts.alert_rules("fleetfuel")["groups"]
    for rule in group["rules"]:
        asked = [{**each, "model": None} for each in rule["data"]]
        known = round_trip(alerting.Rule, {**rule, "data": []})
        assert list(lost({name: value for name, value in rule.items() if name != "data"}, known)) == []
        assert rule["condition"] in {each["refId"] for each in asked}
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,40}", rule["uid"])
    assert len({rule["uid"] for rule in group["rules"]}) == len(group["rules"])


def test_every_query_is_used_and_says_what_it_is_for() -> None:
    known = grafana.read_queries()
    text = json.dumps([grafana.dashboard(), alerts.alert_rules("x")])
    for name, query in known.items():
        assert json.dumps(query.sql) in text, name
        assert query.said.endswith(".")
        assert "filled_at_eat" not in query.sql.replace("$", "")


def test_a_folder_lies_over_grafanas_own(stage: Stage) -> None:
    said = stage.done("grafana", "--out", "grafana", "--datasource", "pg").out.splitlines()
    files = {path.relative_to(stage.folder) for path in (stage.folder / "grafana").rglob("*") if path.is_file()}
    assert {Path(line) for line in said} == files
    (provider,) = (path for path in files if path.suffix == ".yaml")
    reported = json.loads((stage.folder / provider).read_text())["providers"][0]["options"]["path"]
    assert [json.loads(path.read_text())["uid"] for path in Path(reported).glob("*.json")] == ["fleetfuel"]
    rules = json.loads((stage.folder / "grafana/provisioning/alerting/fleetfuel.json").read_text())
    asked = {each["datasourceUid"] for rule in rules["groups"][0]["rules"] for each in rule["data"]}
    assert asked == {"pg", "__expr__"}
    assert json.loads(stage.done("grafana").out) == grafana.dashboard()


# --- queries ------------------------------------------------------------------------------------------------------


@pytest.fixture
def reader(stage: Stage, new_role: NewRole) -> Stage:
    """The same world as somebody sees it who may only read the reports."""
    new_role(stage.url, "grafana_ro", "nologin")
    new_role(stage.url, "grafana", "login password 'reader' in role grafana_ro")
    stage.sql("create schema tracksolid")
    stage.sql("create table tracksolid.devices (imei text, vehicle_number text, cost_centre text, assigned_city text)")
    rows = json.dumps(stage.producer.devices()).replace("'", "''")
    stage.sql(
        f"insert into tracksolid.devices select * from jsonb_to_recordset('{rows}')"
        " as d (imei text, vehicle_number text, cost_centre text, assigned_city text)"
    )
    stage.done("migrate")
    url = f"postgresql://grafana:reader@{stage.url.rpartition('@')[2]}"
    return replace(stage, url=url, bucket=f"{stage.bucket}-r")


def values(reader: Stage, board: Mapping[str, Any], between: Range) -> dict[str, list[str]]:
    """What Grafana puts for `All`: every value that a variable's query gives, as later ones use earlier ones."""
    chosen: dict[str, list[str]] = {}
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            rows = reader.sql(expanded(variable["query"], between, chosen) if chosen else variable["query"])
            chosen[variable["name"]] = [next(iter(row.values())) for row in rows]
    return chosen


def test_every_query_runs_on_an_empty_and_on_a_full_database_for_any_range_and_choice(
    stage: Stage, reader: Stage
) -> None:
    board = grafana.dashboard()
    now = datetime.now(UTC)
    always: Range = (datetime(2015, 1, 1, tzinfo=UTC), now + timedelta(days=365))
    nothing: Range = (datetime(1990, 1, 1, tzinfo=UTC), datetime(1990, 1, 2, tzinfo=UTC))

    everything = values(reader, board, always)
    assert everything == {"cost_centre": ["(none)"], "plate": ["(none)"]}
    for _, sql in queries(board):
        reader.sql(expanded(sql, always, everything))

    stage.snapshot()
    stage.done("import", "--snapshot", "--apply")
    stage.snapshot(edits=3)
    stage.done("import", "--snapshot", "--apply")
    stage.snapshot(hard_deletes=800)
    assert stage.run("import", "--snapshot", "--apply").code == 3
    everything = values(reader, board, always)
    assert len(everything["cost_centre"]) > 2
    assert len(everything["plate"]) > 50

    empty = {title for title, sql in queries(board) if not reader.sql(expanded(sql, always, everything))}
    assert empty == set()
    some = {"cost_centre": everything["cost_centre"][:1], "plate": everything["plate"][:2]}
    hostile = {"cost_centre": ["it's"], "plate": ["'; drop table x; --"]}
    for between, chosen in ((nothing, everything), (always, some), (always, hostile)):
        for title, sql in queries(board):
            rows = reader.sql(expanded(sql, between, chosen))
            if between == nothing and "$__time" in sql and title != "Whole months in the range":
                assert rows == [], title


def test_what_the_dashboard_says_was_spent_is_what_was_spent(stage: Stage, reader: Stage) -> None:
    stage.snapshot()
    stage.done("import", "--snapshot", "--apply")
    board = grafana.dashboard()
    always: Range = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
    everything = values(reader, board, always)
    said = {title: reader.sql(expanded(sql, always, everything)) for title, sql in queries(board)}
    (whole,) = reader.sql(
        "select sum(amount_kes)::text as kes, sum(fills)::text as fills from reporting.v_fuel_monthly"
    )
    assert sum(float(row["KES"]) for row in said["By department"]) == pytest.approx(float(whole["kes"]))
    assert sum(float(row["KES"]) for row in said["By cost centre"]) == pytest.approx(float(whole["kes"]))
    assert sum(float(row["spend"]) for row in said["Spend by month and department"]) == pytest.approx(
        float(whole["kes"])
    )
    assert float(said["Whole months in the range"][0]["spend"]) == pytest.approx(float(whole["kes"]))
    assert int(said["Whole months in the range"][0]["fills"]) == int(float(whole["fills"]))


def test_alerts_rise_when_they_should(stage: Stage, reader: Stage) -> None:
    def risen() -> set[str]:
        (group,) = alerts.alert_rules("x")["groups"]
        found = set()
        for rule in group["rules"]:
            (row,) = reader.sql(rule["data"][0]["model"]["rawSql"])
            (number,) = row.values()
            if float(number) > rule["data"][1]["model"]["conditions"][0]["evaluator"]["params"][0]:
                found.add(rule["title"])
        return found

    assert {"Fuel feed stalled", "No fuel import applied"} <= risen()
    stage.snapshot()
    stage.done("import", "--snapshot", "--apply")
    assert "No fuel import applied" not in risen()
    assert not {"Fuel import refused or failed", "More fuel records rejected"} & risen()

    broken = json.loads(stage.producer.snapshot()[1])
    records = (broken[0] if isinstance(broken, list) else broken)["records"]
    records += [{"car": f"KXX {number:03}X", "liters": 1} for number in range(10)]
    (broken[0] if isinstance(broken, list) else broken)["metadata"] = {}
    stage.put(("fuel_records/latest.json", json.dumps(broken).encode()))
    stage.done("import", "--snapshot", "--apply")
    assert "More fuel records rejected" in risen()

    stage.put(("fuel_records/latest.json", b'{"metadata": {}, "records": []}'))
    assert stage.run("import", "--snapshot", "--apply").code == 3
    assert "Fuel import refused or failed" in risen()
    stage.sql("update fuel.ingest_runs set finished_at = finished_at - interval '3 hours'")
    assert "No fuel import applied" in risen()

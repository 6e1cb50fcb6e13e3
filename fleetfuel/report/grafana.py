"""The dashboard for Grafana, as JSON-ready objects. Its queries are in `grafana.sql`.

They have the form of Grafana's dashboards (schema 39 and later read it) and of its files for provisioning. The tests
compare them with Grafana's own types and run every query.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

UID: Final = "fleetfuel"
POSTGRES: Final = "grafana-postgresql-datasource"
SOURCE: Final = {"type": POSTGRES, "uid": "${datasource}"}
"""The data source that is chosen at the top of the dashboard."""

QUERIES: Final = Path(__file__).with_name("grafana.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One query of `grafana.sql`."""

    said: str
    """What it is for, in a sentence or two."""
    sql: str


def read_queries() -> Mapping[str, Query]:
    """The queries of `grafana.sql` by name."""
    found = {}
    for block in re.split(r"^-- name: ", QUERIES.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        name, said, sql = block.split("\n", 2)
        found[name] = Query(said=said.removeprefix("-- "), sql=sql.strip())
    return found


# --- the dashboard ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel: its query, its kind, its place on a grid of 24 columns."""

    query: str
    title: str
    kind: Literal["stat", "table", "timeseries"]
    width: int
    height: int
    unit: str = "none"
    red_from: float | None = None
    """From this value on it is red."""
    style: Mapping[str, Any] = field(default_factory=dict)
    """How lines and bars look (`fieldConfig.defaults.custom`)."""
    units: Mapping[str, str] = field(default_factory=dict)
    """Column → its unit, if it is not `unit`."""


HOUR: Final = 3_600
BARS: Final = {"drawStyle": "bars", "fillOpacity": 80, "stacking": {"mode": "normal", "group": "A"}}
LINES: Final = {"drawStyle": "line", "showPoints": "always", "pointSize": 4, "spanNulls": True}
MONEY: Final = {"KES": "currencyKES", "KES above the cap": "currencyKES", "litres": "litre"}
TOTALS: Final = {"spend": "currencyKES", "paid above the cap": "currencyKES", "litres": "litre"}


def _stat(query: str, title: str, **more: Any) -> Panel:
    return Panel(query=query, title=title, kind="stat", **{"width": 4, "height": 5, **more})


def _table(query: str, title: str, **more: Any) -> Panel:
    return Panel(query=query, title=title, kind="table", **{"width": 12, "height": 9, **more})


def _lines(query: str, title: str, **more: Any) -> Panel:
    return Panel(query=query, title=title, kind="timeseries", **{"width": 12, "height": 9, "style": LINES, **more})


ROWS: Final[Sequence[tuple[str, Sequence[Panel]]]] = (
    (
        "Is the data fresh?",
        (
            _stat("source_age", "Snapshot written", unit="s", red_from=3 * HOUR),
            _stat("last_applied", "Snapshot applied", unit="s", red_from=2.5 * HOUR),
            _stat("open_rejects", "Rejected, open", red_from=1),
            _lines("runs", "What runs changed", height=5, style=BARS),
            _table("last_runs", "Last runs", height=6),
            _table("bad_runs", "Refused and failed runs", height=6),
        ),
    ),
    (
        "What was spent?",
        (
            _stat("spend", "Whole months in the range", width=24, height=4, units=TOTALS),
            _lines("spend_by_month", "Spend by month and department", width=24, unit="currencyKES", style=BARS),
            _table("spend_by_department", "By department", units=MONEY),
            _table("spend_by_cost_centre", "By cost centre", units=MONEY),
        ),
    ),
    (
        "Was the price right?",
        (
            _lines("price_and_cap", "KES a litre, and the cap"),
            _table("above_the_cap", "Fills above the cap", units=MONEY),
        ),
    ),
    (
        "How far does it go?",
        (
            _table("km_per_litre", "Kilometres a litre, against usual", units={"against usual": "percentunit"}),
            _lines("km_per_litre_over_time", "Kilometres a litre over time"),
        ),
    ),
    (
        "What should somebody look at?",
        (
            _table("findings", "Fills to check", width=18, height=12),
            _table("findings_by_code", "By kind", width=6, height=12),
        ),
    ),
)


def dashboard() -> dict[str, Any]:
    """The dashboard, to import by hand or to provision."""
    queries = read_queries()
    panels: list[dict[str, Any]] = []
    y = 0
    for title, row in ROWS:
        panels.append(
            {
                "type": "row",
                "id": len(panels) + 1,
                "title": title,
                "collapsed": False,
                "gridPos": {"h": 1, "w": 24, "x": 0, "y": y},
                "panels": [],
            }
        )
        y += 1
        x = tallest = 0
        for panel in row:
            if x + panel.width > 24:
                x, y, tallest = 0, y + tallest, 0
            place = {"h": panel.height, "w": panel.width, "x": x, "y": y}
            panels.append(_panel(panel, queries[panel.query], len(panels) + 1, place))
            x, tallest = x + panel.width, max(tallest, panel.height)
        y += tallest
    return {
        "uid": UID,
        "title": "Fuel",
        "description": "Spend, consumption and findings of the fleet, and whether they are fresh. Made by fleetfuel.",
        "tags": ["fleetfuel"],
        "timezone": "Africa/Nairobi",
        "editable": True,
        "graphTooltip": 1,
        "schemaVersion": 39,
        "refresh": "5m",
        "time": {"from": "now-90d", "to": "now"},
        "templating": {"list": _variables(queries)},
        "annotations": {"list": []},
        "panels": panels,
    }


def _panel(panel: Panel, query: Query, number: int, place: Mapping[str, int]) -> dict[str, Any]:
    red = [] if panel.red_from is None else [{"color": "red", "value": panel.red_from}]
    steps = [{"color": "green", "value": None}, *red]
    defaults: dict[str, Any] = {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}}
    if panel.style:
        defaults["custom"] = dict(panel.style)
    options = {
        "stat": {
            "colorMode": "value",
            "textMode": "value_and_name" if panel.units else "auto",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        },
        "table": {"showHeader": True, "cellHeight": "sm"},
        "timeseries": {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    }[panel.kind]
    return {
        "type": panel.kind,
        "id": number,
        "title": panel.title,
        "description": query.said,
        "datasource": SOURCE,
        "gridPos": dict(place),
        "targets": [
            {
                "refId": "A",
                "datasource": SOURCE,
                "format": "time_series" if panel.kind == "timeseries" else "table",
                "rawQuery": True,
                "editorMode": "code",
                "rawSql": query.sql,
            }
        ],
        "fieldConfig": {
            "defaults": defaults,
            "overrides": [
                {"matcher": {"id": "byName", "options": name}, "properties": [{"id": "unit", "value": unit}]}
                for name, unit in panel.units.items()
            ],
        },
        "options": options,
    }


def _variables(queries: Mapping[str, Query]) -> list[dict[str, Any]]:
    chosen = {"selected": True, "text": ["All"], "value": ["$__all"]}
    source = {
        "type": "datasource",
        "name": "datasource",
        "label": "Database",
        "query": POSTGRES,
        "refresh": 1,
        "hide": 0,
        "multi": False,
        "includeAll": False,
    }
    return [
        source,
        *(
            {
                "type": "query",
                "name": name,
                "label": label,
                "description": queries[query].said,
                "datasource": SOURCE,
                "query": queries[query].sql,
                "refresh": 2,
                "sort": 1,
                "hide": 0,
                "multi": True,
                "includeAll": True,
                "current": chosen,
            }
            for name, label, query in (("cost_centre", "Cost centre", "cost_centres"), ("plate", "Vehicle", "plates"))
        ),
    ]


# --- files for provisioning ---------------------------------------------------------------------------------------


def provider(folder: str) -> dict[str, Any]:
    """The file that makes Grafana read dashboards from a folder."""
    return {
        "apiVersion": 1,
        "providers": [
            {
                "name": "fleetfuel",
                "folder": "Fuel",
                "type": "file",
                "allowUiUpdates": False,
                "options": {"path": folder},
            }
        ],
    }

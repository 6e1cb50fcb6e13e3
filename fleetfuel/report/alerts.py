"""The alert rules for Grafana, as JSON-ready objects, in the form of its files for provisioning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from fleetfuel.report.grafana import HOUR, POSTGRES, UID, Query, read_queries


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One alert rule."""

    query: str
    """Its name in `grafana.sql`."""
    title: str
    above: float
    """The alert fires if the query's number is greater than this."""
    lasting: str
    """For how long that has to last before it fires, as Grafana writes durations."""


ALERTS: Final = (
    Alert(query="alert_feed_stalled", title="Fuel feed stalled", above=3 * HOUR, lasting="10m"),
    Alert(query="alert_no_run", title="No fuel import applied", above=2.5 * HOUR, lasting="5m"),
    Alert(query="alert_bad_run", title="Fuel import refused or failed", above=0, lasting="0s"),
    Alert(query="alert_rejects_rise", title="More fuel records rejected", above=5, lasting="0s"),
)


def alert_rules(datasource: str) -> dict[str, Any]:
    """The alert rules as a file for provisioning; `datasource` is the uid of the data source in Grafana."""
    queries = read_queries()
    return {
        "apiVersion": 1,
        "groups": [
            {
                "orgId": 1,
                "name": "fleetfuel",
                "folder": "Fuel",
                "interval": "5m",
                "rules": [_rule(alert, queries[alert.query], datasource) for alert in ALERTS],
            }
        ],
    }


def _rule(alert: Alert, query: Query, datasource: str) -> dict[str, Any]:
    span = {"from": 600, "to": 0}
    asked = {"refId": "A", "format": "table", "rawQuery": True, "editorMode": "code", "rawSql": query.sql}
    limit = {
        "refId": "B",
        "type": "threshold",
        "expression": "A",
        "conditions": [{"evaluator": {"type": "gt", "params": [alert.above]}}],
        "datasource": {"type": "__expr__", "uid": "__expr__"},
    }
    return {
        "uid": f"{UID}_{alert.query}"[:40],
        "title": alert.title,
        "condition": "B",
        "data": [
            {"refId": "A", "relativeTimeRange": span, "datasourceUid": datasource,
             "model": {**asked, "datasource": {"type": POSTGRES, "uid": datasource}}},
            {"refId": "B", "relativeTimeRange": span, "datasourceUid": "__expr__", "model": limit},
        ],
        "noDataState": "Alerting",
        "execErrState": "Error",
        "for": alert.lasting,
        "annotations": {"summary": query.said},
        "labels": {"service": "fleetfuel"},
        "isPaused": False,
    }  # fmt: skip

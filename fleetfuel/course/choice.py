"""From a request to its course."""

from __future__ import annotations

from dataclasses import replace

from fleetfuel.course.looking import Looking
from fleetfuel.course.request import Request
from fleetfuel.course.writing import Approved, Writing
from fleetfuel.feed import client
from fleetfuel.model.plan import Plan
from fleetfuel.report.summary import Summary
from fleetfuel.settings import Settings


def choose(request: Request, settings: Settings, saved: tuple[Plan, Summary] | None) -> Looking:
    """The course that a request takes."""
    if saved:
        return Approved(replace(request, mode=saved[0].mode), settings, saved[1])
    if request.mode in ("snapshot", "changes"):
        client.get_ready()
    return Writing(request, settings) if request.apply else Looking(request, settings)

"""The errors that a planned run can end with."""

from __future__ import annotations

from fleetfuel import errors
from fleetfuel.course.request import Request
from fleetfuel.model.plan import Plan


class Refused(errors.FleetfuelError):
    message = """Refused by {guards}: nothing was loaded."""
    exit_code = 3


class RejectsInStrictRun(errors.FleetfuelError):
    message = """{rejected} records were rejected, and --strict does not accept that. The others were treated as usual.
    They are in rejects.parquet of the report; `fleetfuel rejects --open` lists those of applied runs."""
    exit_code = 65


def refusal_of(plan: Plan) -> Refused | None:
    """The error of a plan that a guard refuses."""
    return Refused(guards=", ".join(guard.code for guard in plan.guards)) if plan.guards else None


def strict_complaint(request: Request, rejected: int) -> errors.FleetfuelError | None:
    """The error of a run with `--strict` that rejected records."""
    return RejectsInStrictRun(rejected=rejected) if request.strict and rejected else None

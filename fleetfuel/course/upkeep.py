"""What an applying run does next to its plan: the vehicles' devices, the stored facts of fills."""

from __future__ import annotations

import logging
from typing import Final

from fleetfuel import errors
from fleetfuel.model.plan import Plan
from fleetfuel.table.database import Database

log = logging.getLogger("fleetfuel")


FILLS_A_RUN: Final = 5_000
"""A run computes the stored facts of at most so many fills. The views compute the others when they are read."""

FILLS_AT_FIRST: Final = 100_000
"""A first load of at most so many records computes the facts of all. That takes no longer than the load itself."""


def refresh_facts(connection: Database, plan: Plan | None = None) -> None:
    """Compute stored facts of fills anew; `plan` is what was just applied, if anything was. The run is committed: what
    goes wrong here cannot make it fail."""
    is_first = plan is not None and not plan.live_before and plan.diff.height <= FILLS_AT_FIRST
    try:
        connection.begin()
        connection.execute("refresh_fill_facts", FILLS_AT_FIRST if is_first else FILLS_A_RUN)
        connection.commit()
    except errors.Interrupted:
        raise
    except errors.FleetfuelError as error:
        reason = str(error).splitlines()[0]
        log.warning(
            "The run is applied, but facts of fills were not computed anew: %s The views do it meanwhile.", reason
        )


def copy_devices(connection: Database) -> None:
    """Copy the vehicles' devices anew. They belong to another program: what is wrong with them stops no run."""
    try:
        connection.take_lock()
        found = connection.rows("copy_devices", False)[0]  # noqa: FBT003
        connection.commit()
    except errors.Interrupted:
        raise
    except errors.AnotherRun:  # which copies them itself
        return
    except errors.FleetfuelError as error:
        log.warning("The devices of vehicles were not read: %s", str(error).splitlines()[0])
        connection.rollback()
        return
    if found["is_broken"]:
        log.warning("%s", found["said"])

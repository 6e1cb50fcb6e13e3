"""What an applying run does next to its plan: the vehicles' devices, the stored facts of fills."""

from __future__ import annotations

import logging
from typing import Final

from fleetfuel import errors
from fleetfuel.table.database import Database

log = logging.getLogger("fleetfuel")


FILLS_A_RUN: Final = 100_000
"""Fills whose stored facts a run computes anew at most: those of a first load take about as long as the load. The views
compute the others when they are read, and `migrate` stores them."""


def refresh_facts(connection: Database) -> None:
    """Compute stored facts of fills anew. The run is committed: what goes wrong here cannot make it fail."""
    try:
        connection.begin()
        connection.execute("refresh_fill_facts", FILLS_A_RUN)
        connection.commit()
    except errors.Interrupted:
        raise
    except errors.FleetfuelError as error:
        reason = str(error).splitlines()[0]
        log.warning(
            "The run is applied, but facts of fills were not computed anew: %s The views do it meanwhile.", reason
        )


def copy_devices(connection: Database) -> None:
    """Make the copy of the vehicles' devices anew. They are somebody else's: what is wrong with them stops no run."""
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

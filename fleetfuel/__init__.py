"""fleetfuel: keeps the fuel schema true to the feed, and proves it."""

__version__ = "0.1.0"

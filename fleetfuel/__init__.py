"""fleetfuel: keeps the fuel schema true to the feed, and proves it."""

__version__ = "1.0.0"

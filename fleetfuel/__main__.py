"""`python -m fleetfuel`."""

from fleetfuel.cli import main

main()

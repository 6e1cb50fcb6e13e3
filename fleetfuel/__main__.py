"""`python -m fleetfuel`."""

from fleetfuel.cli.main import main

main()

"""The command line. It may import everything; nobody imports it."""

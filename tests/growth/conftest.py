"""The bucket and the table of the tests of changes."""

from changes.conftest import feed, store

__all__ = ["feed", "store"]

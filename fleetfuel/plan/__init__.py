"""Pure: rows against the table's state → a plan."""

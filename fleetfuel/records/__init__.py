"""Pure: a file's bytes → the texts of its records → rows → a verdict on each."""

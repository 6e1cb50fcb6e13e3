"""PostgreSQL: READER 2 (its state) and THE WRITER."""

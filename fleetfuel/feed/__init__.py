"""READER 1: the bucket or local files → bytes."""

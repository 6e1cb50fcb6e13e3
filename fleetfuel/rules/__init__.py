"""`rules/*.toml` → values."""

"""What a run leaves for people: summary, files, ledger in words."""

"""The frozen values that travel from stage to stage. No work, no I/O."""

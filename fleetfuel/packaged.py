"""Where the data that travels with the program lies: in an installed wheel, or next to the package in a checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def packaged(kind: Literal["rules", "migrations"]) -> Path:
    """The folder of the shipped `rules` or `migrations`."""
    package = Path(__file__).resolve().parent
    installed = package / "data" / kind
    return installed if installed.is_dir() else package.parent / kind

"""`python -m tests.licences`: the licences of what fleetfuel depends on, and of foreign data in this repository."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement

ROOT: Final = Path(__file__).parents[1]
CLASSIFIER: Final = "License :: OSI Approved :: "


def depended_on(extras: tuple[str, ...]) -> list[str]:
    """Names of the distributions, direct or not, that an installation with these extras has."""
    seen: set[str] = set()
    left = [Requirement(f"fleetfuel[{','.join(extras)}]" if extras else "fleetfuel")]
    names: set[str] = set()
    while left:
        requirement = left.pop()
        for further in map(Requirement, importlib.metadata.requires(requirement.name) or []):
            asked = ("", *requirement.extras)
            if further.marker is not None and not any(further.marker.evaluate({"extra": each}) for each in asked):
                continue
            names.add(re.sub(r"[_.]+", "-", further.name).lower())
            if str(further) not in seen:
                seen.add(str(further))
                left.append(further)
    return sorted(names)


def licence(name: str) -> str:
    """As its metadata says: the expression, else the classifiers, else the first line of the text; empty if none."""
    about = importlib.metadata.metadata(name).json
    classes = [each for each in about.get("classifier", []) if each.startswith(CLASSIFIER)]
    listed = ", ".join(each.removeprefix(CLASSIFIER) for each in classes)
    return str(about.get("license_expression") or listed or str(about.get("license", "")).strip().partition("\n")[0])


def bundled() -> Iterator[tuple[str, str]]:
    """Folder and licence of each foreign thing that lies in this repository with a licence of its own."""
    for path in sorted(ROOT.glob("*/**/LICENSE")):
        if ".venv" not in path.parts:
            yield str(path.parent.relative_to(ROOT)), path.read_text(encoding="utf-8").strip().partition("\n")[0]


if __name__ == "__main__":
    needed = depended_on(())
    for name in depended_on(("embedded", "page")):
        kind = "needed" if name in needed else "extra"
        print(f"{kind:8} {name:32} {importlib.metadata.version(name):16} {licence(name)}")
    for folder, words in bundled():
        print(f"{'data':8} {folder:32} {'':16} {words}")

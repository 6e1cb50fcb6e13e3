"""Reports of real runs, made once; and Debian's browser, driven, for the tests with the marker `system`."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from operators.stage import create_database
from table import Table

from fleetfuel.report import html, saved
from fleetfuel.rules.book import load_rules
from fleetfuel.sandbox.postgres import PostgresServer
from fleetfuel.settings import read_settings

from .reports import MAKERS

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ReportOf = Callable[[str], Path]
"""Name of a maker → the folder of its report."""


@pytest.fixture(scope="session")
def report_of(postgres: PostgresServer, _template: str, tmp_path_factory: pytest.TempPathFactory) -> ReportOf:
    """The folder of the report that a maker leaves; each is made once."""
    made: dict[str, Path] = {}
    uri = postgres.uri(create_database(postgres, _template))

    def folder(name: str) -> Path:
        if name not in made:
            with closing(Table(uri, tmp_path_factory.mktemp(name))) as table:
                made[name] = MAKERS[name](table)
        return made[name]

    return folder


@pytest.fixture(scope="session")
def page_of(report_of: ReportOf, tmp_path_factory: pytest.TempPathFactory) -> ReportOf:
    """The page of such a report, as a file."""
    made: dict[str, Path] = {}
    rules = load_rules()

    def path(name: str) -> Path:
        if name not in made:
            report = saved.read_saved(report_of(name), rules, read_settings().timezone)
            made[name] = tmp_path_factory.mktemp("page") / f"{name}.html"
            made[name].write_text(html.render_page(report, rules).text, encoding="utf-8")
        return made[name]

    return path


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium: `apt-get install chromium`."""
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium")
    assert program, "these tests need Debian's package chromium"
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()

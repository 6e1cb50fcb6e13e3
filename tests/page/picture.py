"""The picture in the README: the page of an hour's run. `python -m tests.page.picture` makes it anew."""

from __future__ import annotations

import shutil
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Final

from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from table import Table

from fleetfuel.packaged import packaged
from fleetfuel.report import html, saved
from fleetfuel.rules.book import load_rules
from fleetfuel.sandbox.postgres import postgres_server
from fleetfuel.settings import read_settings
from fleetfuel.table.database import connect
from fleetfuel.table.migrate import apply_migrations, plan_migrations

from .reports import an_hour

PICTURE: Final = Path(__file__).with_name("page.png")
WIDTH, HEIGHT = 1180, 1500


def make_picture() -> None:
    """Run an import, make its page, and photograph its upper part."""
    rules = load_rules()
    with tempfile.TemporaryDirectory() as name, postgres_server() as server:
        with connect(server.uri()) as database:
            apply_migrations(database, plan_migrations(database, packaged("migrations")), rules)
        with closing(Table(server.uri(), Path(name) / "fleet")) as table:
            report = saved.read_saved(an_hour(table), rules, read_settings().timezone)
        page = Path(name) / "page.html"
        shown = html.render_page(report, rules).text.replace(f"{name}/fleet/", "").replace("file 002", "friday")
        page.write_text(shown, encoding="utf-8")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            opened = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
            opened.goto(page.as_uri())
            opened.screenshot(path=PICTURE)
            browser.close()


if __name__ == "__main__":
    make_picture()

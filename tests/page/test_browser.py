"""The page in a real browser: it asks for nothing, runs nothing of others, fits, filters, prints, goes by keyboard."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from .conftest import ReportOf
from .reports import MAKERS, PAYLOADS

pytestmark = pytest.mark.system


class Opened:
    """A page that was opened, and what it asked for, complained of and ran."""

    def __init__(self, browser: Browser, path: Path, **options: Any) -> None:
        self.context = browser.new_context(**options)
        self.page: Page = self.context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.context.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(f"dialog {dialog.message}"))
        self.page.goto(path.as_uri())

    def asked_elsewhere(self) -> list[str]:
        return [url for url in self.requests[1:] if not url.startswith("data:image/svg+xml;base64,")]


@pytest.fixture
def opened(browser: Browser, page_of: ReportOf) -> Iterator[Any]:
    pages: list[Opened] = []

    def open_page(name: str | Path, **options: Any) -> Opened:
        path = name if isinstance(name, Path) else page_of(name)
        pages.append(Opened(browser, path, **options))
        return pages[-1]

    yield open_page
    for each in pages:
        each.context.close()


@pytest.mark.parametrize("name", MAKERS)
def test_a_page_asks_for_nothing_fits_every_screen_and_prints(opened: Any, name: str) -> None:
    seen = opened(name, color_scheme="dark")
    page = seen.page
    assert seen.requests[0].startswith("file:")
    assert page.locator("h1").count() == 1
    for width in (320, 390, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.emulate_media(media="print", color_scheme="dark")
    assert page.locator(".filter:visible").count() == 0
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    if name in ("an_hour", "no_change", "hostile"):
        assert page.pdf(format="A4").startswith(b"%PDF")
    assert seen.asked_elsewhere() == []
    assert seen.complaints == []


FOREIGN = ("iframe", "object", "embed", "svg", "video", "audio", "base", "link", "marquee", "math", "a:not(.skip)")
"""Elements that a page has none of."""


def test_what_others_wrote_stays_text(opened: Any, page_of: ReportOf, tmp_path: Path) -> None:
    """With the page's policy, and without it: the text is harmless by itself."""
    text = page_of("hostile").read_text(encoding="utf-8")
    bare = tmp_path / "bare.html"
    bare.write_text(re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text), encoding="utf-8")
    assert bare.stat().st_size < len(text.encode())
    for path in (page_of("hostile"), bare):
        seen = opened(path)
        seen.page.locator("tbody#rows").hover()
        seen.page.keyboard.press("Tab")
        assert seen.page.evaluate("window.ran") is None
        assert seen.asked_elsewhere() == []
        assert seen.complaints == []
        for foreign in (
            "iframe",
            "object",
            "embed",
            "svg",
            "video",
            "audio",
            "base",
            "link",
            "marquee",
            "math",
            "a:not(.skip)",
        ):
            assert seen.page.locator(foreign).count() == 0, foreign
        assert seen.page.locator("script").count() == 1
        assert seen.page.locator("form").count() == 1
        assert seen.page.locator("img:not([src^='data:image/svg+xml;base64,'])").count() == 0
        handlers = "[...document.querySelectorAll('*')].some(e => [...e.attributes].some(a => /^on/.test(a.name)))"
        assert seen.page.evaluate(handlers) is False
        held = seen.page.locator("tbody#rows").inner_text()
        held = " ".join(held.split())
        missing = [payload for payload in PAYLOADS if " ".join(payload.split())[:60] not in held]
        assert missing == []


def test_the_filter_finds_plates_ids_fields_and_kinds(opened: Any) -> None:
    page = opened("an_hour").page
    visible = page.locator("tbody#rows tr:visible")
    everything = visible.count()
    assert page.locator("#found").inner_text() == f"{everything} of {everything} rows"

    page.locator("#find").press_sequentially("kda123a")
    expect(page.locator("#found")).to_have_text(f"7 of {everything} rows")
    assert visible.count() == 7
    assert {*visible.locator(".plate").all_inner_texts()} == {"KDA 123A"}
    page.keyboard.press("Escape")
    assert visible.count() == everything

    page.locator("#group").select_option("updates")
    assert {*visible.locator(".badge").all_inner_texts()} == {"update"}
    page.locator("#field").select_option("odometer")
    assert 0 < visible.count() < everything
    assert all("odometer" in text for text in visible.locator(".what").all_inner_texts())

    page.locator("#find").fill("no such plate")
    expect(page.locator("#found")).to_have_text(f"0 of {everything} rows")
    assert visible.count() == 0


def test_many_changes_are_not_all_on_the_page_and_the_page_says_where_they_are(opened: Any) -> None:
    page = opened("many_changes").page
    assert page.locator("tbody#rows tr").count() == 2_000
    which = page.locator("section[aria-labelledby=which]").inner_text()
    assert "2,000 of 20,000 rows are on this page" in which
    assert "changes.parquet" in which


def test_a_page_goes_by_keyboard_alone(opened: Any) -> None:
    page = opened("an_hour").page
    stops: list[str] = []
    for _ in range(40):
        page.keyboard.press("Tab")
        stop = page.evaluate(
            "(e => e === document.body ? '' : `${e.tagName} ${e.id || e.className}`.trim())(document.activeElement)"
        )
        if not stop or stop in stops[:1]:
            break
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none", stop
        stops.append(stop)
    assert stops[0] == "A skip"
    assert [stop for stop in stops if stop.startswith(("INPUT", "SELECT"))] == [
        "INPUT find",
        "SELECT group",
        "SELECT field",
    ]

    page.reload()
    page.keyboard.press("/")
    page.keyboard.type("2090")
    expect(page.locator("#found")).to_have_text(re.compile(r"^1 of "))
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    assert page.locator("#group").input_value() != ""


@pytest.mark.parametrize("name", ["an_hour", "hostile"])
def test_a_screen_reader_hears_what_there_is(opened: Any, name: str) -> None:
    page = opened(name, viewport={"width": 390, "height": 800}).page
    reported = page.locator("body").aria_snapshot()
    for line in (
        'heading "What happened" [level=2]',
        'heading "Which" [level=2]',
        'searchbox "Find"',
        'table "Affected records',
    ):
        assert line in reported
    assert "columnheader" in reported
    unnamed = page.evaluate("[...document.querySelectorAll('input,select')].filter(e => !e.labels.length).length")
    assert unnamed == 0
    assert page.locator("img:not([alt])").count() == 0
    levels = [int(tag[1]) for tag in page.evaluate("[...document.querySelectorAll('h1,h2,h3')].map(e => e.tagName)")]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("name", ["an_hour", "no_change"])
def test_a_page_is_open_to_everybody(opened: Any, name: str, mode: str) -> None:
    """axe-core finds nothing to say: contrast, names, roles, order of headings, tables."""
    page = opened(name, color_scheme=mode).page
    found = Axe().run(page)
    assert [(each["id"], each["nodes"][0]["html"]) for each in found.response["violations"]] == []


def test_without_scripts_every_row_is_there_to_read(opened: Any) -> None:
    page = opened("an_hour", java_script_enabled=False).page
    assert page.locator("tbody#rows tr:visible").count() == page.locator("tbody#rows tr").count() > 0
    assert page.locator(".filter:visible").count() == 0

"""`fleetfuel show` on saved reports, without a database: page, rows, CSV, JSON, and what is kept from them."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import lxml.html
import polars as pl
import pytest
from lxml import etree
from table import Table

from fleetfuel import errors, printable
from fleetfuel.report import choice, html, rows, saved, shown
from fleetfuel.rules.book import load_rules
from fleetfuel.settings import read_settings

from .conftest import ReportOf
from .reports import MAKERS

RULES = load_rules()
PERSONAL = ("Amani Mlima", "Wanjiru Nyota", "Somebody Else")


def show(*words: str, code: int = 0, **env: str) -> str:
    """`fleetfuel show …`, in an environment without a database."""
    done = subprocess.run(
        [sys.executable, "-m", "fleetfuel", "show", *words],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "COLUMNS": "88", **env},
    )
    assert done.returncode == code, done
    return done.stdout if code == 0 else done.stderr


def page_text(page: str) -> str:
    """What a reader of the page sees of it, in one line."""
    body = lxml.html.document_fromstring(page).body
    for unseen in body.xpath("//script | //style"):
        unseen.drop_tree()
    return " ".join(" ".join(body.itertext()).split())


def read(folder: Path) -> saved.SavedReport:
    return saved.read_saved(folder, RULES, read_settings().timezone)


# --- the page -----------------------------------------------------------------------------------------------------


def test_a_page_tells_what_a_refused_run_would_have_done_and_the_command_that_lets_it_through(
    report_of: ReportOf, page_of: ReportOf
) -> None:
    text = page_text(page_of("refused").read_text())
    rows = pl.read_parquet(report_of("refused") / "changes.parquet").height
    assert "Refused: nothing was loaded" in text
    assert f"It would soft-delete {rows:,} records." in text
    assert "max_deletes" in text
    folder = report_of("refused")
    assert f"fleetfuel apply {folder} --max-deletes {rows}" in text
    assert re.search(rf"fleetfuel import --file .* --as snapshot --apply --max-deletes {rows}\b", text)


def test_the_command_of_a_page_lets_the_run_through_and_the_page_says_who_did(table: Table) -> None:
    report = MAKERS["refused"](table)
    commands = lxml.html.document_fromstring(html.render_page(read(report), RULES).text).xpath("//code/text()")
    program, *words = shlex.split(next(each for each in commands if each.startswith("fleetfuel apply")))
    assert program == "fleetfuel"
    env = {"PATH": "/usr/bin:/bin", "DATABASE_URL": table.uri, "FLEETFUEL_REPORTS": str(table.folder / "reports")}
    subprocess.run([sys.executable, "-m", "fleetfuel", *words], check=True, capture_output=True, env=env)
    assert table.query("select count(*) as live from fuel.records where absent_since is null") == [{"live": 700}]
    [line] = table.query("select run_id, role from fuel.ingest_runs order by finished_at desc limit 1")
    text = page_text(html.render_page(read(report), RULES).text)
    said = show(str(report))
    assert ("applied" in said, "Let through" in said, "REFUSED" in said) == (True, True, False)
    assert "Refused" not in text
    assert "let through once" in text
    assert f"Who {line['role']}, logged in" in text
    assert f"Applied by run {line['run_id']}, logged in as {line['role']}" in text


@pytest.mark.parametrize("name", MAKERS)
def test_the_numbers_of_a_page_are_those_of_the_report(report_of: ReportOf, page_of: ReportOf, name: str) -> None:
    folder = report_of(name)
    run = json.loads((folder / "plan.json").read_text())
    page = lxml.html.document_fromstring(page_of(name).read_text())
    counted = {
        row.find("th").text: int(row.find("td").text.replace(",", ""))
        for row in page.xpath("//table[@class='counts']/tbody/tr")
    }
    keys = {"soft deletes": "soft_deletes", "flagged": "warned"}
    for what, number in counted.items():
        assert number == run["counts"][keys.get(what, what)]
    shown_rows = page.xpath("//tbody[@id='rows']/tr")
    assert len(shown_rows) == min(html.ROWS, pl.read_parquet(folder / "changes.parquet").height)
    held = {each[0].text_content() for each in page.xpath("//h2/..//h3[code]")}
    rules = {*pl.read_parquet(folder / "rejects.parquet")["rule"]} | {*run["rules"]}
    assert rules <= held | {guard["code"] for guard in run["guards"]} | {"unknown_field"}


@pytest.mark.parametrize("name", MAKERS)
def test_personal_values_are_shown_only_if_asked_for(
    report_of: ReportOf, page_of: ReportOf, name: str, tmp_path: Path
) -> None:
    folder = report_of(name)
    held = " ".join(
        pl.read_parquet(folder / "changes.parquet")
        .select(pl.col("before", "after").fill_null(""))
        .to_series()
        .to_list()
    )
    outputs = [
        page_of(name).read_text(),
        show(str(folder), "--csv"),
        show(str(folder), "--rows", "--json"),
        show(str(folder), "--rows"),
    ]
    for text in outputs:
        for person in PERSONAL:
            assert person not in text
    if name == "an_hour":
        assert "Wanjiru Nyota" in show(str(folder), "--rows", "--json", "--personal")
        page = tmp_path / "page.html"
        show(str(folder), "--html", str(page), "--personal")
        assert "Wanjiru Nyota" in page.read_text()
        assert "Somebody Else" in page.read_text()
        assert "driver" in page_of(name).read_text()
    assert held is not None


def test_a_page_is_nobody_elses_and_is_made_anew(report_of: ReportOf, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    for _ in range(2):
        assert str(page) in show(str(report_of("an_hour")), "--html", str(page))
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    export = tmp_path / "latest.json"
    export.write_text("{}")
    for place in (tmp_path / "no such folder" / "page.html", export, report_of("an_hour") / "plan.json"):
        show(str(report_of("an_hour")), "--html", str(place), code=73)
    assert export.read_text() == "{}"


def test_a_page_does_without_charts(report_of: ReportOf, monkeypatch: pytest.MonkeyPatch) -> None:
    report = read(report_of("an_hour"))
    assert html.render_page(report, RULES).has_charts
    monkeypatch.setitem(sys.modules, "altair", None)
    made = html.render_page(report, RULES)
    assert not made.has_charts
    page = lxml.html.document_fromstring(made.text)
    assert page.xpath("//img") == []
    assert len(page.xpath("//details[@open]")) == 2
    assert "By day of fill" in page.text_content()


def test_a_policy_allows_the_pages_own_style_and_script_and_nothing_else(page_of: ReportOf) -> None:
    text = page_of("hostile").read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy
    assert "unsafe" not in policy[1]
    assert policy[1].startswith("default-src &#39;none&#39;")
    attributes = {
        name for element in lxml.html.document_fromstring(text).iter(etree.Element) for name in element.attrib
    }
    assert [name for name in attributes if name.startswith("on") or name == "style"] == []


# --- rows ---------------------------------------------------------------------------------------------------------


def test_rows_fit_the_terminal_and_say_how_many_more_there_are(report_of: ReportOf) -> None:
    said = show(str(report_of("refused")), "--rows", "deletes", "--limit", "5").splitlines()
    of = pl.read_parquet(report_of("refused") / "changes.parquet").height
    assert len(said) == 6
    assert all(len(line) <= 88 for line in said[:5])
    assert all(line.startswith("soft delete") for line in said[:5])
    assert f"{of - 5:,} more soft deletes" in said[5]


@pytest.mark.parametrize("word", ["deletes", "delete", "soft_deletes", "soft-delete", "Soft Deletes"])
def test_a_kind_of_rows_goes_by_any_of_its_names(report_of: ReportOf, word: str) -> None:
    kinds = {row["action"] for row in json.loads(show(str(report_of("an_hour")), "--rows", word, "--json"))}
    assert kinds == {"soft_delete_absent", "soft_delete_flagged"}


def test_csv_and_json_hold_every_row_as_the_report_does(report_of: ReportOf) -> None:
    for name in ("an_hour", "hostile", "no_change"):
        kept = pl.read_parquet(report_of(name) / "changes.parquet")
        table = list(csv.DictReader(io.StringIO(show(str(report_of(name)), "--csv"))))
        objects = json.loads(show(str(report_of(name)), "--rows", "--json"))
        assert [int(row["id"]) for row in table] == [row["id"] for row in objects] == kept["id"].to_list()
        for row, before, after in zip(objects, kept["before"], kept["after"], strict=True):
            for side, text in (("before", before), ("after", after)):
                whole = json.loads(text) if text else None
                assert row[side] == (whole and {name: whole[name] for name in row[side]})
        assert all(not cell.startswith(rows.FORMULA) for row in table for cell in (row["plate"], row["department"]))
    assert len(json.loads(show(str(report_of("many_changes")), "--rows", "--json", "--limit", "3"))) == 3


def test_what_does_not_go_together_is_reported(report_of: ReportOf) -> None:
    folder = str(report_of("an_hour"))
    for words in (
        ["--csv", "--json"],
        ["--html", "x", "--csv"],
        ["--limit", "3"],
        ["--personal"],
        ["--rows", "nonsense"],
    ):
        assert "fleetfuel show --help" in show(folder, *words, code=64)


def test_a_damaged_report_is_reported_by_the_name_of_its_file(report_of: ReportOf, tmp_path: Path) -> None:
    for name in ("changes", "rejects", "notices"):
        for number, broken in enumerate((None, b"", b"PAR1 and no more", b"PAR1" + b"\0" * 100 + b"PAR1")):
            folder = tmp_path / f"{name}{number}"
            shutil.copytree(report_of("an_hour"), folder)
            file = folder / f"{name}.parquet"
            file.unlink() if broken is None else file.write_bytes(broken)
            with pytest.raises(errors.BadInput, match=rf"{name}\.parquet"):
                html.render_page(read(folder), RULES)


# --- choosing -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "limit", "expected"),
    [
        ({"a": 3, "b": 4}, 10, {"a": 3, "b": 4}),
        ({"a": 1000, "b": 4}, 10, {"a": 6, "b": 4}),
        ({"a": 1000, "b": 1000}, 10, {"a": 5, "b": 5}),
        ({"a": 1000, "b": 1000, "c": 1}, 2, {"a": 1, "b": 1, "c": 0}),
        ({}, 10, {}),
    ],
)
def test_small_groups_are_shown_whole_and_large_ones_share(
    counts: dict[str, int], limit: int, expected: dict[str, int]
) -> None:
    assert choice.share_out(counts, limit) == expected


def test_one_mistyped_year_does_not_press_the_others_together(report_of: ReportOf) -> None:
    report = read(report_of("refused"))
    far = report.changes.collect().with_columns(
        day=pl.when(pl.int_range(pl.len()) == 0).then(pl.date(1999, 1, 1)).otherwise("day")
    )
    days = choice.count_days(
        saved.SavedReport(
            folder=report.folder, run={}, changes=far.lazy(), rejects=report.rejects, notices=report.notices
        )
    )
    assert days
    assert not days.is_weekly
    assert days.outside > 0
    assert int(days.rows["rows"].sum()) + days.outside + days.undated == far.height


@pytest.mark.parametrize(
    "text",
    ["\u202egnp.exe", "a\x1b[2Jb", "one\ntwo", "x" * 10_000, "\u2028", "\ue000", "\x00", "a" + "\u0301" * 500],
)
def test_foreign_text_is_one_bounded_line_that_turns_nothing(text: str) -> None:
    line = printable.one_line(text, shown.MOST)
    assert len(line) <= shown.MOST
    assert line.isprintable()
    assert line.count("\u0301") <= 3  # more would cover the lines above

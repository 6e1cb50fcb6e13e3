"""Foreign text where it leaves: nothing in it that a terminal obeys, and no more of it than is useful."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetfuel.printable import MOST, SENTENCE_MOST, one_line, printable, sentence

OBEYED = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
"""Categories of characters that do something instead of showing something."""

ANYTHING = st.text(st.characters(exclude_categories=[])) | st.text(
    st.sampled_from("\x1b]0;\x07\x9b\u202e\u2066\u200b\ufeff\U000e0041\ue000a\n\u0301\x7f\x85\u2028\ud800 ")
)


def is_harmless(text: str) -> bool:
    return not any(unicodedata.category(each) in OBEYED for each in text if each != "\n")


@given(ANYTHING)
def test_nothing_is_left_that_a_terminal_obeys(text: str) -> None:
    assert is_harmless(printable(text))
    assert is_harmless(sentence(text))
    line = one_line(text)
    assert is_harmless(line)
    assert "\n" not in line
    assert len(line) <= MOST


def test_every_such_character_of_unicode_is_escaped() -> None:
    left = [f"{code:x}" for code in range(0x110000) if code != 0xA and not is_harmless(printable(chr(code)))]
    assert left == []


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_json_stays_the_same_json(text: str) -> None:
    assert json.loads(printable(json.dumps({text: [text]}, ensure_ascii=False))) == {text: [text]}


@pytest.mark.parametrize(
    "text", ["KCA 542Q", "Amani Mlima · 7,200 KES", "Kč, Ümit, 東京, Ω", "ten\u00a0litres", "emoji 🚛", ""]
)
def test_what_people_write_stays_as_it_is(text: str) -> None:
    assert printable(text) == one_line(text) == sentence(text) == text


def test_a_long_name_is_cut_where_it_is_shown() -> None:
    assert one_line("x" * 5_000_000) == "x" * (MOST - 1) + "…"
    assert one_line("x" * MOST) == "x" * MOST
    assert len(sentence("unknown field " + "x" * 5_000_000)) == SENTENCE_MOST
    assert one_line("a" + "\u0301" * 10_000).startswith("a\u0301\u0301\u0301")
    assert len(one_line("a" + "\u0301" * 10_000)) < 10

"""Law: a file cut piece by piece, whatever the pieces, is the file cut at once."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetfuel import errors
from fleetfuel.model.files import SourceFile
from fleetfuel.records import envelope, values
from fleetfuel.records import texts as record_texts

NOON = datetime(2026, 6, 11, 12, tzinfo=UTC)

TEXTS = st.sampled_from(["", "}, {", "},{", "]", "[{", '"', "\\", '"},{"records":[{', "KDA 123 B"])
VALUES = st.recursive(
    st.none() | st.integers(-5, 5) | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "data", "records", "metadata"]), inner, max_size=3)
    ),
    max_leaves=6,
)
RECORDS = st.lists(st.dictionaries(st.sampled_from(["id", "car", "legs", "data"]), VALUES, max_size=4), max_size=12)
SPACES = st.sampled_from(["", " ", "\n", " \n\t"])


@st.composite
def files(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """A file, and the texts of the records it was made of. A lone record in no envelope may be one itself."""
    texts = [json.dumps(record) for record in draw(RECORDS)]
    list_text = "[" + "".join(
        f"{draw(SPACES)}{text}{draw(SPACES)}{',' if number < len(texts) else ''}"
        for number, text in enumerate(texts, 1)
    ) + "]"  # fmt: skip
    around = json.dumps(draw(st.dictionaries(st.sampled_from(["total", "legs", "note"]), VALUES, max_size=2)))
    shape = draw(st.sampled_from(["%s", '{"records":%s}', '{"metadata":{"note":#},"rows" :%s}', '[{"data": %s}]',
                                  '{"items":%s,"metadata":{"note":#}}', '{"data":[],"records":%s}']))  # fmt: skip
    content = draw(SPACES) + shape.replace("#", around).replace("%s", list_text) + draw(SPACES)
    return content.encode(), [text.encode() for text in texts]


def cut(content: bytes, piece: int) -> tuple[object, ...]:
    file = SourceFile(key="k", etag="e", size=len(content), modified_at=NOON, key_at=None, content=memoryview(content))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record_texts, "PIECE", piece)
        patch.setattr(record_texts, "MANY", 2)
        try:
            found = envelope.cut_file(file, values.EAST_AFRICA, seed=7)
        except errors.BadInput as error:
            return type(error), str(error)
    texts = [*found.records]
    assert found.records.take(pl.Series(range(len(texts)), dtype=pl.UInt32)).to_pylist() == texts
    return texts, found.records.fingerprints.to_list(), found.metadata, found.declared, found.is_recovered


@given(files(), st.integers(1, 120))
def test_pieces_do_not_matter(made: tuple[bytes, list[bytes]], piece: int) -> None:
    content, texts = made
    at_once = cut(content, len(content))
    assert cut(content, piece) == at_once
    is_bare = content.strip()[:1] == b"[" and len(texts) == 1
    assert at_once[0] == texts or is_bare or at_once[0] in (errors.BadInput, errors.WrongEnvelope)


@given(files(), st.integers(1, 120), st.data())
def test_nor_do_they_if_the_file_is_damaged(made: tuple[bytes, list[bytes]], piece: int, data: st.DataObject) -> None:
    content, _ = made
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, min(len(content), start + 3)))
    damaged = (
        content[:start] + data.draw(st.sampled_from([b"", b'"', b"}", b"]", b"{", b",", b"\\", b"x"])) + content[end:]
    )
    assert cut(damaged, piece) == cut(damaged, len(damaged))


def test_a_long_file_is_cut_piece_by_piece() -> None:
    texts = [json.dumps({"id": number, "legs": [{}, {"note": "},{"}]}).encode() for number in range(1000)]
    total = b'"metadata": {"total": 3}'
    for before, after in (
        (b"[", b"]"),
        (b"{" + total + b', "records" : [\n', b'\n], "note": "]"}'),
        (b'[{"data": [', b"], " + total + b', "notes": ["]"]}]'),
        (b'{"notes": [[{"id": 1}]], "items":[', b"], " + total + b"}\n"),
    ):
        content = memoryview(before + b",\n  ".join(texts) + after)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(record_texts, "PIECE", 1000)
            metadata, found, _ = envelope._cut_out(content, 7) or (b"", None, {})
        assert found
        assert len(found._pieces) > 40
        assert [*found] == texts
        assert metadata == (b"null" if before == b"[" else b'{"total": 3}')


def test_of_two_lists_none_is_cut_out() -> None:
    texts = b",".join(b'{"id": %d}' % number for number in range(100))
    assert cut(b'{"data": [' + texts + b'], "records": [' + texts + b"]}", 200)[0] is errors.BadInput

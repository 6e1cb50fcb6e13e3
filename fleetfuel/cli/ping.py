"""The heartbeat: start, success and failure of an applying run, reported to a URL the healthchecks.io way.

`<url>/start` when it begins, `<url>` when it was applied, `<url>/<exit code>` when it failed. A run that found the lock
taken reports no end: the run that holds the lock does. A ping gets a few seconds, and never changes how a run ends.
"""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from fleetfuel import errors

log = logging.getLogger("fleetfuel")

PATIENCE: Final = 5.0
"""Seconds that a ping may take, whatever the network does."""
LONGEST: Final = 2_000
"""Characters of what is reported; the service cuts it, too."""


class _Beat:
    """Where to report; None before a run that is to be reported has begun."""

    url: str | None = None


def begin(url: str | None, said: str) -> None:
    """Report that a run begins, and remember to report its end."""
    _Beat.url = url
    if url:
        _send(url, "/start", said)


def end(exit_code: int, said: str) -> None:
    """Report how the run ended; nothing if no beginning was reported."""
    url, _Beat.url = _Beat.url, None
    if url and exit_code != errors.AnotherRun.exit_code:
        _send(url, f"/{exit_code}" if exit_code else "", said)


def _send(url: str, suffix: str, said: str) -> None:
    failure: list[str] = []
    sending = threading.Thread(target=_post, args=(url, suffix, said, failure), name="fleetfuel-ping", daemon=True)
    with suppress(errors.Interruption):
        sending.start()
        sending.join(PATIENCE)
    if sending.is_alive():
        failure.append(f"no answer within {PATIENCE:g} s")
    if failure:
        log.warning("FLEETFUEL_PING_URL at %s did not take the ping: %s", urlsplit(url).hostname, failure[0])


def _post(url: str, suffix: str, said: str, failure: list[str]) -> None:
    try:
        from urllib.request import Request, urlopen

        parts = urlsplit(url)
        target = urlunsplit(parts._replace(path=parts.path.rstrip("/") + suffix))
        body = said[:LONGEST].encode("utf-8", "replace")
        headers = {"User-Agent": "fleetfuel", "Content-Type": "text/plain; charset=utf-8"}
        request = Request(target, data=body, headers=headers, method="POST")  # noqa: S310 -- the settings take http alone
        with urlopen(request, timeout=PATIENCE):  # noqa: S310
            pass
    except Exception as error:  # whatever it is: a ping is no reason to fail
        failure.append(f"{type(error).__name__}: {error}"[:200])

"""Whatever a store answers, or does not: the right bytes, or one sentence with the step that helps; never a bug.

The answers of the first table come from a server that knows nothing of HTTP; those of the second from a real store,
through a proxy that bends their headers.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from fleetfuel import errors
from fleetfuel.feed import client, deliver
from fleetfuel.settings import Settings

from . import misbehaving_proxy as faults
from .conftest import FEW, SNAPSHOT, feed
from .misbehaving_proxy import Fault, Proxy

pytestmark = pytest.mark.usefixtures("hasty")

OK = b"HTTP/1.1 200 OK\r\n"
LISTING = b'<?xml version="1.0"?><ListBucketResult><IsTruncated>false</IsTruncated>%s</ListBucketResult>'
ENTRY = b"<Contents><Key>f/changes/1.json</Key><LastModified>%s</LastModified><ETag>x</ETag><Size>%s</Size></Contents>"
NOW = b"2026-06-11T17:00:00.000Z"


def with_body(body: bytes, kind: bytes = b"application/xml") -> bytes:
    return OK + b"Content-Type: %s\r\nContent-Length: %d\r\n\r\n%s" % (kind, len(body), body)


ANSWERS: dict[str, tuple[bytes, type[errors.FleetfuelError], str]] = {
    "closes at once": (b"", errors.BucketUnavailable, "closes the connection without an answer"),
    "SSH": (b"SSH-2.0-OpenSSH_9.2p1\r\n", errors.BucketUnavailable, "does not speak HTTP"),
    "SMTP": (b"220 mail.example.org ESMTP\r\n", errors.BucketUnavailable, "does not speak HTTP"),
    "PostgreSQL": (b"E\0\0\0\x8fSFATAL\0C0A000\0Munsupported frontend protocol\0\0", errors.BucketUnavailable, "HTTP"),
    "TLS": (b"\x15\x03\x01\0\x02\x02\x46", errors.BucketUnavailable, "does not speak HTTP"),
    "zeros": (bytes(70_000), errors.BucketUnavailable, "does not speak HTTP"),
    "HTTP/0.9": (b"<html>hello</html>", errors.BucketUnavailable, "does not speak HTTP"),
    "300 headers": (
        OK + b"".join(b"x-%d: 1\r\n" % n for n in range(300)) + b"\r\n",
        errors.BucketUnavailable,
        "more than 100 headers",
    ),
    "a header without end": (OK + b"x: " + b"y" * 100_000, errors.BucketUnavailable, "Tried"),
    "headers and an end": (OK + b"Content-Le", errors.BucketUnavailable, "not that of an S3 server"),
    "empty": (with_body(b""), errors.BucketUnavailable, "not that of an S3 server"),
    "spaces": (with_body(b"  \n"), errors.BucketUnavailable, "not that of an S3 server"),
    "a page": (with_body(b"<!doctype html><html>Login</html>", b"text/html"), errors.BucketUnavailable, "S3 server"),
    "well-formed XHTML": (with_body(b'<html xmlns="a"><p/></html>'), errors.BucketUnavailable, "not that of an S3"),
    "other XML": (with_body(b"<Buckets><Bucket/></Buckets>"), errors.BucketUnavailable, "not that of an S3 server"),
    "a listing of buckets": (with_body(b"<ListAllMyBucketsResult/>"), errors.BucketUnavailable, "S3 server"),
    "JSON": (with_body(b'{"objects": []}', b"application/json"), errors.BucketUnavailable, "not that of an S3 server"),
    "no UTF-8": (with_body(b"\xff\xfe<\0L\0"), errors.BucketUnavailable, "not that of an S3 server"),
    "half a listing": (with_body(b"<ListBucketResult><Contents><Key>a"), errors.BucketUnavailable, "S3 server"),
    "a size of 332.0": (with_body(LISTING % ENTRY % (NOW, b"332.0")), errors.BucketUnavailable, "S3 server"),
    "a size in words": (with_body(LISTING % ENTRY % (NOW, b"much")), errors.BucketUnavailable, "S3 server"),
    "a time in words": (with_body(LISTING % ENTRY % (b"tea time", b"1")), errors.BucketUnavailable, "S3 server"),
    "a time out of range": (
        with_body(LISTING % ENTRY % (b"9999999999999999999", b"1")),
        errors.BucketUnavailable,
        "S3 server",
    ),
    "an object without a key": (
        with_body(LISTING % b"<Contents><Size>1</Size></Contents>"),
        errors.BucketUnavailable,
        "S3 server",
    ),
    "an error as 200": (
        with_body(b"<Error><Code>InternalError</Code></Error>"),
        errors.BucketUnavailable,
        "answers 5|InternalError|S3 server",
    ),
    "a code with escapes": (
        b"HTTP/1.1 400 Bad\r\nContent-Length: 41\r\n\r\n<Error><Code>&#x9b;31mRed&#10;</Code></Error>"[:-1],
        errors.BucketUnavailable,
        r"400|S3 server",
    ),
    "a redirect to nowhere": (
        b"HTTP/1.1 302 Found\r\nLocation: http://[::1/\r\nContent-Length: 0\r\n\r\n",
        errors.BucketUnavailable,
        "redirects to something that is no address",
    ),
    "plain HTTP on a port with TLS": (
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 48\r\n\r\nClient sent an HTTP request to an HTTPS server.\n",
        errors.BucketUnavailable,
        r"is its URL https://",
    ),
}


@contextmanager
def blunt_server(answer: bytes | None) -> Iterator[str]:
    """Every connection gets these bytes, once it has said something, and is closed; None: not a word is said."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                try:
                    asking, _ = listening.accept()
                except OSError:
                    return
                with asking:
                    asking.recv(65536)
                    if answer is None:
                        ended.wait()
                    elif answer:
                        asking.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            ended.set()
            listening.shutdown(socket.SHUT_RDWR)
    thread.join()


def settings_for(endpoint: str) -> Settings:
    return Settings(endpoint=endpoint, access_key="key", secret_key="secret", prefix="f/")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """botocore's own pauses between its repetitions are none."""
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_that_is_none_is_reported_and_is_no_bug(name: str) -> None:
    answer, kind, words = ANSWERS[name]
    with blunt_server(answer) as endpoint, pytest.raises(kind, match=words) as caught:
        deliver.list_changes(settings_for(endpoint))
    assert caught.value.exit_code == kind.exit_code
    assert str(caught.value).replace("\n", "").isprintable()
    with blunt_server(answer) as endpoint, pytest.raises(errors.FleetfuelError) as caught:
        deliver.look_at_snapshot(settings_for(endpoint))
    assert caught.value.exit_code in (66, 69, 78)


@pytest.mark.usefixtures("impatient")
def test_a_silent_store_is_given_up_and_the_waiting_is_reported(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(client, "SILENCE", 0.2)
    with blunt_server(None) as endpoint, pytest.raises(errors.BucketUnavailable, match="says nothing for"):
        deliver.list_changes(settings_for(endpoint))
    assert [line for line in caplog.messages if "asking again" in line] == [
        "the store says nothing; asking again (2 of 3)",
        "the store says nothing; asking again (3 of 3)",
    ]


def test_a_store_may_be_silent_for_a_minute_in_all() -> None:
    assert client.ATTEMPTS * (client.SILENCE + client.CONNECTING) <= 90


PROXIES = {
    "http://": 78,
    "ftp://127.0.0.1:9": 78,
    "socks5://127.0.0.1:9": 78,
    "http://127.0.0.1:port": 78,
    "http://[::1": 78,
    "nonsense": 69,
    "http://127.0.0.1:9": 69,
}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("proxy", PROXIES)
def test_a_proxy_that_is_none_is_a_setting_to_mend(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy)
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(errors.FleetfuelError, match="HTTPS_PROXY or HTTP_PROXY") as caught:
        deliver.list_changes(settings_for("http://store.example:9000"))
    assert caught.value.exit_code == PROXIES[proxy]


@pytest.mark.parametrize("path", ["/fuel", "/fuel/", "/a/b"])
def test_a_path_in_the_endpoint_is_pointed_at(path: str, through: Settings) -> None:
    assert through.endpoint
    with pytest.raises(errors.FleetfuelError, match="RUSTFS_ENDPOINT has a path") as caught:
        deliver.list_changes(replace(through, endpoint=through.endpoint + path))
    assert caught.value.exit_code in (66, 69, 77)


# --- a real store, its headers bent -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        faults.no_length,
        faults.no_length_and_cut_once,
        faults.length_that_is_no_number,
        faults.two_last_modified,
        faults.odd_headers,
    ],
)
def test_bodies_arrive_whole_in_spite_of(fault: Fault, through: Settings, proxy: Proxy) -> None:
    with proxy.misbehave(fault):
        listing = deliver.list_changes(through)
        with deliver.fetch_changes(through, listing.files) as delivery:
            found = {each.key.removeprefix("few/changes/"): bytes(each.content) for each in delivery.files}
            assert (found, delivery.unreadable, delivery.notices) == (feed(FEW), (), ())
        assert deliver.look_at_snapshot(through).key == "few/latest.json"
        with deliver.fetch_snapshot(through) as delivery:
            assert bytes(delivery.files[0].content) == SNAPSHOT


@pytest.mark.parametrize(
    ("fault", "words"),
    [(faults.no_length_and_cut, "breaks off after"), (faults.huge_length, "no more than .* are fetched")],
)
def test_a_body_that_cannot_be_had_whole_is_reported(
    fault: Callable[..., faults.Answer], words: str, through: Settings, proxy: Proxy
) -> None:
    with (
        proxy.misbehave(fault),
        pytest.raises(errors.BadInput, match=words),
        deliver.fetch_snapshot(through),
    ):
        pass

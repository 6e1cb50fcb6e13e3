"""An HTTP proxy before an object store that misbehaves, by name, like object stores have been seen to.

Requests are forwarded as they came, Host included, so that their signatures stay valid; only answers are bent.
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

HOST = "127.0.0.1"
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "proxy-authorization"}


@dataclass(slots=True)
class Answer:
    """What the store answered, to be bent before it is sent on."""

    status: int
    headers: dict[str, str]
    body: bytes
    cut_after: int | None = None
    """Send so many bytes of the body, then end the connection …"""
    cut_hard: bool = False
    """… with a reset rather than a close."""
    is_chunked: bool = False
    """Send the body in chunks, without its length."""
    drip: tuple[int, float] | None = None
    """Send so many bytes at a time, with so many seconds between."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request, as a fault sees it."""

    method: str
    key: str
    """The object's key; empty for a listing."""
    query: dict[str, str]
    headers: dict[str, str]
    nth: int
    """How often this object, or this very page, was asked for, from 1."""

    @property
    def is_listing(self) -> bool:
        return "list-type" in self.query

    @property
    def is_body(self) -> bool:
        return self.method == "GET" and bool(self.key)


Fault = Callable[["Proxy", Asked, Answer], Answer]


@dataclass(slots=True)
class Proxy:
    """The running proxy. `fault` is what it does wrong just now; None: nothing."""

    endpoint: str
    upstream: str
    fault: Fault | None = None
    asked: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """(method, key, query) → how often since `misbehave` began."""
    entries: dict[str, str] = field(default_factory=dict)
    """Key → its `<Contents>` in a listing that went by."""
    wholes: dict[str, Answer] = field(default_factory=dict)
    """Key → the answer with its whole body, as it went by."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def misbehave(self, fault: Fault) -> Iterator[Proxy]:
        for memory in (self.asked, self.entries, self.wholes):
            memory.clear()
        self.fault = fault
        try:
            yield self
        finally:
            self.fault = None

    def requests(self, key_ending: str) -> int:
        """How many requests for objects whose key ends so went by."""
        return sum(count for (_, key, _), count in self.asked.items() if key.endswith(key_ending))


# --- faults of listings -------------------------------------------------------------------------------------------


def no_continuation_token(proxy: Proxy, asked: Asked, answer: Answer) -> Answer:
    """A truncated page that does not say how to go on."""
    if asked.is_listing:
        answer.body = re.sub(rb"<NextContinuationToken>.*?</NextContinuationToken>", b"", answer.body)
    return answer


def inclusive_start_after(proxy: Proxy, asked: Asked, answer: Answer) -> Answer:
    """No token, and `start-after` brings its own key again, for ever."""
    answer = no_continuation_token(proxy, asked, answer)
    if asked.is_listing:
        text = answer.body.decode()
        for entry in re.findall(r"<Contents>.*?</Contents>", text, re.DOTALL):
            proxy.entries[unquote(re.findall(r"<Key>(.*?)</Key>", entry)[0])] = entry
        if again := proxy.entries.get(asked.query.get("start-after", "")):
            text = re.sub(r"(?=<Contents>|</ListBucketResult>)", lambda _: again, text, count=1)
        answer.body = text.encode()
    return answer


def false_is_truncated(proxy: Proxy, asked: Asked, answer: Answer) -> Answer:
    """Every page says it is the last one."""
    answer = no_continuation_token(proxy, asked, answer)
    if asked.is_listing:
        answer.body = answer.body.replace(b"<IsTruncated>true<", b"<IsTruncated>false<")
    return answer


def always_truncated(proxy: Proxy, asked: Asked, answer: Answer) -> Answer:
    """Every page says that more follows, and none says how to go on."""
    answer = no_continuation_token(proxy, asked, answer)
    if asked.is_listing:
        answer.body = answer.body.replace(b"<IsTruncated>false<", b"<IsTruncated>true<")
    return answer


def same_page_again(proxy: Proxy, asked: Asked, answer: Answer) -> Answer:
    """Whatever is asked, the first page comes, truncated and with the same token."""
    if asked.is_listing:
        with proxy.lock:
            first = proxy.entries.setdefault("\0first page", answer.body.decode())
        answer.body = re.sub(
            r"<NextContinuationToken>.*?</NextContinuationToken>",
            "<NextContinuationToken>again</NextContinuationToken>",
            first,
        ).encode()
    return answer


def same_page_with_new_tokens(proxy: Proxy, asked: Asked, answer: Answer) -> Answer:
    """Whatever is asked, the first page comes, truncated, and each time with a token never seen."""
    answer = same_page_again(proxy, asked, answer)
    if asked.is_listing:
        answer.body = answer.body.replace(b">again<", b">again %d<" % sum(proxy.asked.values()))
    return answer


def empty_page_between(proxy: Proxy, asked: Asked, answer: Answer) -> Answer:
    """Each page that is asked for by token is empty the first time, truncated, and gives that token again."""
    if "continuation-token" in asked.query and asked.nth == 1:
        token = escape(asked.query["continuation-token"])
        answer.body = (
            "<ListBucketResult><IsTruncated>true</IsTruncated><KeyCount>0</KeyCount>"
            f"<NextContinuationToken>{token}</NextContinuationToken></ListBucketResult>"
        ).encode()
    return answer


def page_out_of_order(proxy: Proxy, asked: Asked, answer: Answer) -> Answer:
    """Each page is upside down, and holds two of its keys twice."""
    if asked.is_listing:
        entries = re.findall(rb"<Contents>.*?</Contents>", answer.body, re.DOTALL)
        shuffled = b"".join(entries[:2] + entries[-2::-1] + entries[-1:])
        answer.body = re.sub(rb"<Contents>.*</Contents>", lambda _: shuffled, answer.body, flags=re.DOTALL)
    return answer


def truncated_listing(proxy: Proxy, asked: Asked, answer: Answer) -> Answer:
    """The first answer to each page breaks off in the middle of its XML."""
    if asked.is_listing and asked.nth == 1:
        answer.body = answer.body[: len(answer.body) // 2]
    return answer


# --- faults of bodies ---------------------------------------------------------------------------------------------


def listed_key_404(proxy: Proxy, asked: Asked, answer: Answer, last: int = 10**9) -> Answer:
    """Objects at 07:00 are listed and answer 404 (the first `last` times)."""
    if asked.is_body and "T07-" in asked.key and asked.nth <= last:
        return error(404, "NoSuchKey")
    return answer


def listed_key_404_twice(proxy: Proxy, asked: Asked, answer: Answer) -> Answer:
    return listed_key_404(proxy, asked, answer, last=2)


def no_etag(proxy: Proxy, asked: Asked, answer: Answer) -> Answer:
    """Neither objects nor listings have an ETag."""
    answer.headers.pop("etag", None)
    if asked.is_listing:
        answer.body = re.sub(rb"<ETag>.*?</ETag>", b"", answer.body)
    return answer


def truncated_body(proxy: Proxy, asked: Asked, answer: Answer) -> Answer:
    """The connection is closed after half of what was announced, every time."""
    if asked.is_body and answer.status < 300:
        answer.cut_after = len(answer.body) // 2
    return answer


def empty_truncated_body(proxy: Proxy, asked: Asked, answer: Answer) -> Answer:
    """The connection of objects at 07:00 is closed before the first byte, every time."""
    if asked.is_body and "T07-" in asked.key:
        answer.cut_after = 0
    return answer


def shortened_body(proxy: Proxy, asked: Asked, answer: Answer) -> Answer:
    """Objects at 07:00 are cut short, and the headers say that this is all."""
    if asked.is_body and "T07-" in asked.key:
        answer.body = answer.body[:-1]
    return answer


def flaky_500(proxy: Proxy, asked: Asked, answer: Answer) -> Answer:
    """Everything answers 500 once, then works."""
    return error(500, "InternalError") if asked.nth == 1 else answer


def lasting_503(proxy: Proxy, asked: Asked, answer: Answer) -> Answer:
    """Objects answer 503 for ever."""
    return error(503, "ServiceUnavailable") if asked.is_body else answer


def unavailable_at_seven(proxy: Proxy, asked: Asked, answer: Answer) -> Answer:
    """Objects at 07:00 answer 503 for ever."""
    return error(503, "ServiceUnavailable") if asked.is_body and "T07-" in asked.key else answer


def slow_drip(proxy: Proxy, asked: Asked, answer: Answer) -> Answer:
    """Bodies come a few bytes at a time."""
    if asked.is_body:
        answer.drip = (7, 0.01)
    return answer


def trickle(proxy: Proxy, asked: Asked, answer: Answer) -> Answer:
    """Bodies come so slowly that they never end."""
    if asked.is_body:
        answer.drip = (1, 0.2)
    return answer


def reset_in_mid_body(proxy: Proxy, asked: Asked, answer: Answer) -> Answer:
    """The first three answers for each object end with a reset of the connection in the middle of the body."""
    if asked.is_body and asked.nth <= 3:
        answer.cut_after, answer.cut_hard = len(answer.body) // 2, True
    return answer


def corrupted_once(proxy: Proxy, asked: Asked, answer: Answer) -> Answer:
    """One byte of each object is wrong the first time."""
    if asked.is_body and asked.nth == 1 and answer.body:
        answer.body = bytes([answer.body[0] ^ 1]) + answer.body[1:]
    return answer


def corrupted_anew(proxy: Proxy, asked: Asked, answer: Answer) -> Answer:
    """One byte of objects at 07:00 is wrong each time, and differently."""
    if asked.is_body and "T07-" in asked.key:
        answer.body = bytes([answer.body[0] ^ asked.nth]) + answer.body[1:]
    return answer


def foreign_etag(proxy: Proxy, asked: Asked, answer: Answer) -> Answer:
    """The ETag looks like an MD5 and is that of something else."""
    if asked.is_body:
        answer.headers["etag"] = '"0123456789abcdef0123456789abcdef"'
    return answer


def ignores_ranges(proxy: Proxy, asked: Asked, answer: Answer) -> Answer:
    """A range is answered with the whole object. The first whole body breaks off, so that a range is asked for."""
    if not asked.is_body:
        return answer
    if "range" not in asked.headers:
        proxy.wholes[asked.key] = replace(answer, headers=dict(answer.headers))
        if asked.nth == 1:
            answer.cut_after = len(answer.body) // 2
        return answer
    whole = proxy.wholes[asked.key]
    return replace(whole, headers=dict(whole.headers))


# --- faults of headers --------------------------------------------------------------------------------------------


def no_length(proxy: Proxy, asked: Asked, answer: Answer) -> Answer:
    """Bodies come in chunks, without their length."""
    return replace(answer, is_chunked=asked.method == "GET" and not asked.is_listing)


def no_length_and_cut_once(proxy: Proxy, asked: Asked, answer: Answer) -> Answer:
    """… and the first of each breaks off between two chunks."""
    answer = no_length(proxy, asked, answer)
    if answer.is_chunked and asked.nth == 1:
        answer.cut_after = len(answer.body) // 2
    return answer


def no_length_and_cut(proxy: Proxy, asked: Asked, answer: Answer) -> Answer:
    answer = no_length(proxy, asked, answer)
    if answer.is_chunked:
        answer.cut_after = len(answer.body) // 2
    return answer


def length_that_is_no_number(proxy: Proxy, asked: Asked, answer: Answer) -> Answer:
    if asked.is_body:
        answer.headers["content-length"] = "abc"
        answer.headers["connection"] = "close"
    return answer


def two_last_modified(proxy: Proxy, asked: Asked, answer: Answer) -> Answer:
    """As joined by the HTTP client from two headers."""
    if asked.key:
        answer.headers["last-modified"] = "Thu, 11 Jun 2026 17:00:00 GMT, Thu, 11 Jun 2026 18:00:00 GMT"
    return answer


def odd_headers(proxy: Proxy, asked: Asked, answer: Answer) -> Answer:
    """Headers that nobody needs, none of which can be read."""
    odd = ("x-amz-missing-meta", "x-amz-mp-parts-count", "x-amz-tagging-count", "x-amz-object-lock-retain-until-date")
    answer.headers |= dict.fromkeys((*odd, "expires", "x-amz-expiration", "x-amz-restore"), "soon, or later")
    return answer


def huge_length(proxy: Proxy, asked: Asked, answer: Answer) -> Answer:
    """A length that no object has."""
    if asked.is_body:
        answer.headers["content-length"] = str(10**15)
        answer.cut_after = len(answer.body)
    return answer


# --- faults that close the door -----------------------------------------------------------------------------------


def clock_skew_403(proxy: Proxy, asked: Asked, answer: Answer) -> Answer:
    """The store's clock is 40 minutes behind."""
    answer = error(403, "RequestTimeTooSkewed")
    answer.headers["date"] = formatdate(time.time() - 40 * 60, usegmt=True)
    return answer


def wrong_region_400(proxy: Proxy, asked: Asked, answer: Answer) -> Answer:
    return error(400, "AuthorizationHeaderMalformed", "<Region>eu-west-3</Region>")


def permanent_redirect_301(proxy: Proxy, asked: Asked, answer: Answer) -> Answer:
    return error(301, "PermanentRedirect", "<Endpoint>elsewhere.example</Endpoint>")


def console_instead_of_s3(proxy: Proxy, asked: Asked, answer: Answer) -> Answer:
    """Every address answers 200 with a page for people."""
    return Answer(200, {"content-type": "text/html"}, b"<!doctype html><html><p>Console</html>")


def gateway_502(proxy: Proxy, asked: Asked, answer: Answer) -> Answer:
    return Answer(502, {"content-type": "text/html; charset=utf-8"}, b"<html><h1>Bad gateway</h1></html>")


def redirect_302(proxy: Proxy, asked: Asked, answer: Answer) -> Answer:
    """A front door that sends everybody to TLS."""
    return Answer(302, {"location": "https://s3.example/login?token=t"}, b"")


def denied_403(proxy: Proxy, asked: Asked, answer: Answer) -> Answer:
    """Listing is allowed, getting objects is not."""
    return error(403, "AccessDenied") if asked.is_body else answer


def denied_at_seven(proxy: Proxy, asked: Asked, answer: Answer) -> Answer:
    """Objects at 07:00 may not be read."""
    return error(403, "AccessDenied") if asked.is_body and "T07-" in asked.key else answer


def error(status: int, code: str, more: str = "") -> Answer:
    body = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>m</Message>{more}</Error>'
    return Answer(status, {"content-type": "application/xml"}, body.encode())


# --- the proxy itself ---------------------------------------------------------------------------------------------


@contextmanager
def misbehaving_proxy(upstream: str, certificate: Path | None = None) -> Iterator[Proxy]:
    """A proxy before the store at `upstream`, which behaves until told otherwise; with a certificate it speaks TLS."""
    server = Server((HOST, 0), Handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    scheme = "https" if certificate else "http"
    server.proxy = Proxy(endpoint=f"{scheme}://{HOST}:{server.server_port}", upstream=upstream)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    proxy: Proxy

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is no news."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: Server

    def setup(self) -> None:
        super().setup()
        self._upstream = http.client.HTTPConnection(urlsplit(self.server.proxy.upstream).netloc, timeout=30)

    def finish(self) -> None:
        self._upstream.close()
        super().finish()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Silence."""

    def do_GET(self) -> None:
        proxy = self.server.proxy
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        address = urlsplit(self.path)
        bucket_and_key = unquote(address.path).lstrip("/").partition("/")
        query = {name: values[0] for name, values in parse_qs(address.query, keep_blank_values=True).items()}
        place = (self.command, bucket_and_key[2], address.query)
        with proxy.lock:
            proxy.asked[place] += 1
            nth = proxy.asked[place]
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(method=self.command, key=bucket_and_key[2], query=query, headers=headers, nth=nth)
        answer = self._ask_upstream(body)
        if proxy.fault:
            answer = proxy.fault(proxy, asked, answer)
        self._send(answer)

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815

    def _ask_upstream(self, body: bytes) -> Answer:
        self._upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in HOP_BY_HOP and name.lower() != "expect":
                self._upstream.putheader(name, value)
        self._upstream.endheaders(body or None)
        response = self._upstream.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders() if name.lower() not in HOP_BY_HOP}
        answer = Answer(response.status, headers, response.read())
        if self.command != "HEAD":
            answer.headers.pop("content-length", None)
        return answer

    def _send(self, answer: Answer) -> None:
        self.send_response_only(answer.status)
        answer.headers.setdefault("date", formatdate(usegmt=True))
        if answer.is_chunked:
            answer.headers["transfer-encoding"] = "chunked"
            half = (answer.cut_after or len(answer.body) // 2) or 1
            pieces = [answer.body[:half], answer.body[half:]][: 1 if answer.cut_after else 2]
            answer.body = b"".join(b"%x\r\n%s\r\n" % (len(each), each) for each in pieces if each)
            answer.body += b"" if answer.cut_after else b"0\r\n\r\n"
            self.close_connection = answer.cut_after is not None
            answer.cut_after = None
        else:
            answer.headers.setdefault("content-length", str(len(answer.body)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if answer.drip:
            count, pause = answer.drip
            for start in range(0, len(answer.body), count):
                self.wfile.write(answer.body[start : start + count])
                self.wfile.flush()
                time.sleep(pause)
        elif answer.cut_after is None:
            self.wfile.write(answer.body)
        else:
            self.wfile.write(answer.body[: answer.cut_after])
            self.wfile.flush()
            self.close_connection = True
            if answer.cut_hard:
                time.sleep(0.01)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()

"""Real-looking files of the feed, and what chance makes of them: the same seed, the same mutants."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from fleetfuel.sandbox.producer import Producer

FEED: Final = Path(__file__).parent / "feed"

TOKENS: Final = (
    *(b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"\n", b"\0", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\\u0000"),
    *(
        b"\\ud800",
        b"\\u12",
        b"null",
        b"NaN",
        b"true",
        b"-",
        b".",
        b"1e400",
        b"9" * 30,
        b'"id":',
        b'"id":1,',
        b'"op":"d",',
    ),
    *(b'"records":[', b'"deleted_at":"2026-06-01",', b"{}", b"[]", b"},{", b"\xef\xbb\xbf", b"/*", b"'", b'""'),
)


def small_snapshots() -> Sequence[bytes]:
    """Complete snapshots of a score of records, in the envelopes that coexist."""
    producer = Producer(seed=3, vehicles=6, records=20)
    first = json.loads(producer.snapshot()[1])
    producer.advance(3, fills=2, edits=3, soft_deletes=1, hard_deletes=1)
    second = json.loads(producer.snapshot()[1])
    bare = [record for record in second["records"] if "id" in record]
    uncounted = {"metadata": {"exported_at": second["metadata"]["exported_at"]}, "records": second["records"]}
    made = [
        compact(first),
        compact(uncounted),
        compact([second]),
        compact(bare),
        json.dumps(uncounted, indent=1).encode(),
    ]
    return [*made, *(path.read_bytes() for path in sorted(FEED.glob("latest-*.json")))]


def small_changes() -> Sequence[bytes]:
    """Change files, with records and with messages around them."""
    producer = Producer(seed=4, vehicles=6, records=20)
    made = []
    for _ in range(12):
        producer.advance(1, fills=3, edits=2, soft_deletes=1, hard_deletes=0)
        made.append(producer.changes()[1])
    return [*made, *(path.read_bytes() for path in sorted((FEED / "changes").glob("*.json")))]


def compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def mutants(rng: random.Random, files: Sequence[bytes]) -> Iterator[bytes]:
    """Mutants without end: each one to three accidents away from a file."""
    while True:
        content = rng.choice(files)
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            content = rng.choice(ACCIDENTS)(rng, content, rng.choice(files))
        yield content


def flip(rng: random.Random, content: bytes, _: bytes) -> bytes:
    """One bit of one byte."""
    return (
        overwrite(content, at := place(rng, content), bytes([content[at] ^ 1 << rng.randrange(8)])) if content else b""
    )


def garble(rng: random.Random, content: bytes, _: bytes) -> bytes:
    """One to eight bytes become any."""
    return overwrite(content, place(rng, content), rng.randbytes(rng.randint(1, 8)))


def truncate(rng: random.Random, content: bytes, _: bytes) -> bytes:
    return content[: place(rng, content)]


def lose(rng: random.Random, content: bytes, _: bytes) -> bytes:
    """A chunk is missing."""
    start = place(rng, content)
    return content[:start] + content[start + rng.choice((1, 2, 16, 300, 1500)) :]


def repeat(rng: random.Random, content: bytes, _: bytes) -> bytes:
    """A chunk comes twice."""
    start = place(rng, content)
    end = start + rng.choice((1, 2, 16, 300, 1500))
    return content[:end] + content[start:]


def splice(rng: random.Random, content: bytes, other: bytes) -> bytes:
    """The beginning of one file, the end of another."""
    return content[: place(rng, content)] + other[place(rng, other) :]


def graft(rng: random.Random, content: bytes, other: bytes) -> bytes:
    """A chunk of another file lies over this one."""
    start = place(rng, other)
    return overwrite(content, place(rng, content), other[start : start + rng.choice((8, 300, 1500))])


def insert(rng: random.Random, content: bytes, _: bytes) -> bytes:
    start = place(rng, content)
    return content[:start] + rng.choice(TOKENS) + content[start:]


def replace(rng: random.Random, content: bytes, _: bytes) -> bytes:
    token = rng.choice(TOKENS)
    return overwrite(content, place(rng, content), token)


def redigit(rng: random.Random, content: bytes, _: bytes) -> bytes:
    """One to four digits become others."""
    digits = [at for at, byte in enumerate(content) if 48 <= byte <= 57]
    for at in rng.sample(digits, min(len(digits), rng.randint(1, 4))):
        content = overwrite(content, at, b"%d" % rng.randrange(10))
    return content


def exchange(rng: random.Random, content: bytes, _: bytes) -> bytes:
    """Two chunks change places."""
    one, two, three = sorted(place(rng, content) for _ in range(3))
    return content[:one] + content[two:three] + content[one:two] + content[three:]


Accident = Callable[[random.Random, bytes, bytes], bytes]
ACCIDENTS: Final[Sequence[Accident]] = (
    *(flip, flip, garble, truncate, lose, lose, repeat, splice, graft, insert, insert, replace, redigit, exchange),
)


def place(rng: random.Random, content: bytes) -> int:
    return rng.randrange(max(len(content), 1))


def overwrite(content: bytes, at: int, new: bytes) -> bytes:
    return content[:at] + new + content[at + len(new) :]

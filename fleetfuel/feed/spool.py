"""One temporary file for many bodies, and what is done with bytes in it: unpack gzip, make digests."""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import tempfile
import threading
import zlib
from collections.abc import Iterator

from fleetfuel import errors
from fleetfuel.settings import temporary_folder

MEBIBYTE = 2**20

INFLATED_MAX = 4 * 2**30
INFLATED_FREE = 64 * 2**20
INFLATED_RATIO = 200
"""A gzip body may always grow to 64 MiB, else to 200 times its size, and never above 4 GiB: JSON rows shrink 5 to 30
times, a zip bomb about 1,000 times."""


class Undecodable(Exception):
    """The bytes are there, but cannot be unpacked; the message says why."""


class Spool:
    """One temporary file without a name for many bodies: little memory is used, and even kill -9 leaves nothing behind.

    It lies in TMPDIR; if that is a RAM disk, its bytes are memory.
    """

    def __init__(self) -> None:
        try:
            self._file = tempfile.TemporaryFile(dir=temporary_folder())  # noqa: SIM115
        except OSError as error:
            raise _spool_full(error) from None
        self._end = 0
        self._lock = threading.Lock()
        self._map: mmap.mmap | None = None

    def reserve(self, size: int) -> int:
        """Reserve `size` bytes for the caller; their offset."""
        with self._lock:
            offset, self._end = self._end, self._end + size
        return offset

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Raises `SpoolFull`."""
        rest = memoryview(data)
        try:
            while rest:
                written = os.pwrite(self._file.fileno(), rest, offset)
                offset, rest = offset + written, rest[written:]
        except OSError as error:
            raise _spool_full(error) from None

    def read(self, offset: int, size: int) -> bytes:
        return os.pread(self._file.fileno(), size, offset)

    def pieces(self, offset: int, size: int) -> Iterator[bytes]:
        """The `size` bytes at `offset`, piece by piece."""
        end = offset + size
        while offset < end and (piece := self.read(offset, min(MEBIBYTE, end - offset))):
            yield piece
            offset += len(piece)

    def view(self) -> memoryview:
        """All bytes, memory-mapped. To be called once, after the last write."""
        if self._end == 0:
            return memoryview(b"")
        os.ftruncate(self._file.fileno(), self._end)
        self._map = mmap.mmap(self._file.fileno(), self._end, access=mmap.ACCESS_READ)
        return memoryview(self._map)

    def close(self) -> None:
        """The file is gone once nobody holds a view on it any more."""
        self._file.close()
        if self._map is not None:
            with contextlib.suppress(BufferError):
                self._map.close()


def _spool_full(error: OSError) -> errors.SpoolFull:
    return errors.SpoolFull(folder=temporary_folder(), reason=error.strerror or error)


# --- gzip ---------------------------------------------------------------------------------------------------------


GZIP = b"\x1f\x8b"
PLAIN_ENCODINGS = {"", "identity", "aws-chunked", "gzip", "x-gzip", "utf-8"}


def inflate(spool: Spool, offset: int, size: int, encoding: str) -> tuple[int, int]:
    """Offset and size of the file itself in the spool: as it came, or inflated, after what is there already.

    The bytes decide, not the header: JSON never begins like gzip, and a proxy may inflate the body but keep the header.
    The stream is read twice, to measure and to write, so that it lies in the spool in one piece. Raises `Undecodable`.
    """
    unknown = {each.strip() for each in encoding.split(",")} - PLAIN_ENCODINGS
    if unknown:
        raise Undecodable(f"it is encoded as {', '.join(sorted(unknown))}; gzip is understood")
    if spool.read(offset, min(2, size)) != GZIP:
        return offset, size
    inflated = sum(len(piece) for piece in _inflated_pieces(spool, offset, size))
    start = position = spool.reserve(inflated)
    for piece in _inflated_pieces(spool, offset, size):
        spool.write(position, piece)
        position += len(piece)
    return start, inflated


def _inflated_pieces(spool: Spool, offset: int, size: int) -> Iterator[bytes]:
    """The gzip members one after the other. Raises `Undecodable`."""
    limit = min(INFLATED_MAX, max(INFLATED_FREE, INFLATED_RATIO * size))
    inflated = 0
    member = zlib.decompressobj(wbits=31)
    try:
        for piece in spool.pieces(offset, size):
            rest = piece
            while rest:
                if member.eof:
                    rest = rest.lstrip(b"\0")
                    if not rest:
                        break
                    member = zlib.decompressobj(wbits=31)
                data = member.decompress(rest, MEBIBYTE)
                inflated += len(data)
                if inflated > limit:
                    raise Undecodable(f"its gzip inflates {size:,} bytes to more than {limit:,}")
                yield data
                rest = member.unconsumed_tail or member.unused_data
        while not member.eof and (data := member.flush(MEBIBYTE)):
            inflated += len(data)
            if inflated > limit:
                raise Undecodable(f"its gzip inflates {size:,} bytes to more than {limit:,}")
            yield data
    except zlib.error as error:
        raise Undecodable(f"its gzip is damaged ({error})") from None
    if not member.eof:
        raise Undecodable("its gzip is cut off")


def hash_spooled(spool: Spool, offset: int, size: int) -> str:
    """An ETag for bytes that have none: `xxh3-` and the XXH3-128 of the bytes in hex."""
    import xxhash

    digest = xxhash.xxh3_128()
    for piece in spool.pieces(offset, size):
        digest.update(piece)
    return f"xxh3-{digest.hexdigest()}"


def hash_view(content: memoryview) -> str:
    """The same as `hash_spooled`, of bytes in memory."""
    import xxhash

    return f"xxh3-{xxhash.xxh3_128(content).hexdigest()}"


def md5(spool: Spool, offset: int, size: int) -> str:
    """The ETag's hash of an upload in one piece: MD5 in hex."""
    digest = hashlib.md5(usedforsecurity=False)
    for piece in spool.pieces(offset, size):
        digest.update(piece)
    return digest.hexdigest()


def multipart_md5(spool: Spool, offset: int, size: int, part_size: int) -> str:
    """The ETag's hash of an upload in parts: MD5 of the parts' MD5s."""
    whole = hashlib.md5(usedforsecurity=False)
    for start in range(0, size, part_size):
        whole.update(bytes.fromhex(md5(spool, offset + start, min(part_size, size - start))))
    return whole.hexdigest()

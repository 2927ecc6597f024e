"""Keep a bounded part of a body, decoded, however much arrives. Pure."""

from __future__ import annotations

import re
import zlib

# Only encodings whose decoders take linear time and make text; the header is the site's to write.
_CHARSET = re.compile(r'charset\s*=\s*"?(utf-8|us-ascii|iso-8859-\d{1,2}|windows-125\d)\b', re.IGNORECASE)
_GZIP = 31  # zlib's window bits for "gzip, largest window" (zlib.h, inflateInit2)


class Body:
    """Collects at most ``limit`` decoded bytes and counts all that arrived.

    A gzip bomb costs ``limit`` bytes: decoding stops there and never starts again.
    """

    def __init__(self, *, limit: int, coding: str) -> None:
        self.size = 0
        self.problem = ''
        self._limit = limit
        self._kept = bytearray()
        self._inflate = zlib.decompressobj(_GZIP) if coding.strip().lower() in {'gzip', 'x-gzip'} else None
        self._more = False

    @property
    def cut(self) -> bool:
        """Was there more than ``limit``?"""
        return self._more

    def add(self, data: bytes) -> None:
        """Take the next bytes as they came off the wire."""
        self.size += len(data)
        room = self._limit - len(self._kept)
        if self._inflate is None or self.problem:
            self._keep(data, room)
            return
        try:
            # One byte more than there is room for tells "full" from "exactly full".
            self._keep(self._inflate.decompress(data, room + 1) if not self._more else b'', room)
        except zlib.error:
            self.problem = 'the body is not the gzip its header says it is'
            self._keep(data, room)

    def gzip_unfinished(self) -> bool:
        """Did the gzip stream lack its end (RFC 1952, section 2.2) although nothing else was wrong?"""
        if self._inflate is None or self.problem or self._more or not self.size:
            return False
        return not self._inflate.eof

    def text(self, content_type: str) -> str:
        """Return what was kept as text; bytes that are not UTF-8 survive as surrogates."""
        match = _CHARSET.search(content_type)
        charset = match[1].lower() if match else 'utf-8'
        if charset in {'utf-8', 'us-ascii'}:
            return self._kept.decode('utf-8', 'surrogateescape')
        try:
            return self._kept.decode(charset, 'replace')
        except LookupError:
            return self._kept.decode('utf-8', 'surrogateescape')

    def _keep(self, data: bytes, room: int) -> None:
        self._kept += data[:room]
        self._more = self._more or len(data) > room

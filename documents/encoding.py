"""Bytes as text."""

import re


class FormatError(ValueError):
    """A file, or a row of one, holds no readable text; the message says why."""


_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f]")


def decode(data: bytes) -> str:
    """Bytes as text: UTF-8, UTF-16 or UTF-32 by their marks, UTF-16 without, else Windows-1252.

    Raises FormatError for binary data and for bytes that are none of these.
    """
    if marked := next((name for mark, name in _MARKS if data.startswith(mark)), None):
        return _decoded(data, marked)
    if b"\0" in data:
        return _decoded(data, _unmarked_utf16(data))
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = _decoded(data, "cp1252")
    if len(_CONTROL.findall(text)) * 100 > len(text):
        raise FormatError("binary data")
    return text


def _unmarked_utf16(data: bytes) -> str:
    """Which UTF-16 this is: in Latin text nearly every second byte is zero, the others never."""
    half = len(data) // 2
    high, low = data[::2].count(0), data[1::2].count(0)
    if low > 0.4 * half and high < 0.05 * half:
        return "utf-16-le"
    if high > 0.4 * half and low < 0.05 * half:
        return "utf-16-be"
    raise FormatError("binary data")


def _decoded(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise FormatError(
            f"undecodable: no valid UTF-8, UTF-16 or Windows-1252 ({error.reason})"
        ) from error

"""Texts that differ in nothing but their constants are normalised once: the others are known by their shape.

A shape has a mark where a whole number or a plain string stands: digits that touch no name, number or parameter, or
quotes with neither a quote nor a backslash inside. The mark says which token it is. A shape is trusted only where the
grammar has put a parameter at each mark of one text, and has left everything else alone. Then every text of that shape
reads the same, token by token: what stands between the marks is the same, so the scanner comes to each mark in the same
state, and finds the same kind of constant there, whatever it says.

Compiled by mypyc where a C compiler is at hand.
"""

from __future__ import annotations

import re
from typing import Final

from librt.strings import BytesWriter
from mypy_extensions import i64, u8

SHAPES_MAX: Final = 8192
TEXT_BYTES_MAX: Final = 4096
_PARAMETER = re.compile(rb"\$([0-9]+)")
_WORDS = re.compile(rb"\b(null|true|false)\b", re.IGNORECASE)
_CONSTANT_WORDS = (b"null", b"true", b"false")
_MARK: Final = 0  # a text holds no zero byte
_QUOTE: Final = 39
_SMALL: Final = 48
_LARGE: Final = 57
_BACKSLASH: Final = 92


class Shapes:
    """Normalised texts by shape."""

    def __init__(self) -> None:
        self._normalised: dict[bytes, str] = {}

    def normalised(self, text: str) -> str | None:
        """What another text of this shape was normalised to, None where none is known."""
        if len(text) > TEXT_BYTES_MAX or not self._normalised or "\0" in text:
            return None
        return self._normalised.get(_shape(text.encode()))

    def learn(self, text: str, normalised: str) -> None:
        """The grammar has read `text` as `normalised`."""
        data = text.encode()
        if len(data) > TEXT_BYTES_MAX or b"\0" in data or not _by_constants_alone(data.strip(), normalised.encode()):
            return
        if len(self._normalised) >= SHAPES_MAX:
            self._normalised.clear()
        self._normalised[_shape(data)] = normalised


def _shape(data: bytes) -> bytes:
    out = BytesWriter()
    copied: i64 = 0
    start, end = _constant(data, 0)
    while start < end:
        out.write(data[copied:start])
        out.append(_MARK)
        out.append(_kind(data, start, end))
        copied = end
        start, end = _constant(data, end)
    out.write(data[copied:])
    return out.getvalue()


def _constant(data: bytes, at: i64) -> tuple[i64, i64]:
    """Where the next constant from `at` on begins and ends; the same place twice where none is left."""
    size: i64 = len(data)
    while at < size:
        byte: i64 = data[at]
        if (48 <= byte <= 57 or byte == _QUOTE) and not (at > 0 and _joins(data[at - 1], before=True)):
            end = _end(data, at, size)
            if end > at and not (end < size and _joins(data[end], before=False)):
                return at, end
        at += 1
    return size, size


def _kind(data: bytes, start: i64, end: i64) -> u8:
    """Which token of the grammar it is: SCONST, ICONST (32 bits), or FCONST, which a larger number is."""
    if data[start] == _QUOTE:
        return _QUOTE
    while start < end - 1 and data[start] == 48:  # zeros that lead count for nothing
        start += 1
    small = end - start < 10 or (end - start == 10 and data[start:end] <= b"2147483647")
    return _SMALL if small else _LARGE


def _end(data: bytes, at: i64, size: i64) -> i64:
    """Behind the digits, or the closing quote; `at` where the string isn't plain."""
    end = at + 1
    if data[at] != _QUOTE:
        while end < size and 48 <= data[end] <= 57:
            end += 1
        return end
    while end < size and data[end] != _QUOTE:
        if data[end] == _BACKSLASH:
            return at
        end += 1
    return end + 1 if end < size else at


def _joins(byte: i64, *, before: bool) -> bool:
    """Whether what stands here may belong to the same token as a constant before or behind it."""
    if byte >= 128 or 48 <= byte <= 57 or 65 <= byte <= 90 or byte == 95 or 97 <= byte <= 122:
        return True  # a letter, a digit or an underscore
    return (
        byte == 46 or byte == 34 or byte == 39 or (before and (byte == 36 or byte == 38 or byte == 92))
    )  # . " ' $ & \


def _by_constants_alone(data: bytes, normalised: bytes) -> bool:
    """Whether the grammar has made parameters of all marks, and has changed nothing else but NULL, TRUE and FALSE.

    Those are constants to it, too, and no mark: they stay in the shape.
    """
    number = max([int(found) for found in _PARAMETER.findall(data)], default=0) + 1
    told = 0  # how much of `normalised` is accounted for
    copied: i64 = 0
    start, end = _constant(data, 0)
    while start < end:
        piece, told_before, number_before = data[copied:start], told, number
        told, number = _same(piece, normalised, told_before, number_before)
        if told < 0 and piece.endswith(b"-"):  # a number's sign is part of the parameter
            told, number = _same(piece[:-1], normalised, told_before, number_before)
        parameter = b"$%d" % number
        if told < 0 or not normalised.startswith(parameter, told):
            return False
        told, number = told + len(parameter), number + 1
        copied = end
        start, end = _constant(data, end)
    told, _ = _same(data[copied:], normalised, told, number)
    return told == len(normalised)


def _same(piece: bytes, normalised: bytes, told: int, number: int) -> tuple[int, int]:
    """(where `normalised` goes on behind this piece, -1 where it isn't there; the next parameter's number)."""
    for part in _WORDS.split(piece):
        parameter = b"$%d" % number
        if part.lower() in _CONSTANT_WORDS and normalised.startswith(parameter, told):
            told, number = told + len(parameter), number + 1
        elif normalised.startswith(part, told):
            told += len(part)
        else:
            return -1, number
    return told, number

"""Whether a video file has lost its end, told from its container alone."""

from __future__ import annotations

import os
from typing import BinaryIO


def is_cut_short(path: str) -> bool:
    """Whether an MP4, MOV, AVI, MKV or WebM promises more bytes than the file has.

    False for other formats, for no file, and for a recording that does not say how long it is. Decoders stop at the
    last whole frame of a file that was cut short as if the video ended there.
    """
    try:
        size = os.path.getsize(path)
        with open(path, "rb") as file:
            head = file.read(12)
            if head[:4] == b"RIFF":
                return _avi_end(file, size) > size
            if head[:4] == b"\x1a\x45\xdf\xa3":
                return _mkv_end(file, size) > size
            return head[4:8] in (b"ftyp", b"wide", b"moov", b"mdat", b"free") and _mp4_end(file, size) > size
    except OSError:
        return False


def _avi_end(file: BinaryIO, size: int) -> int:
    """Where the last RIFF chunk of an AVI ends, by its own header; a new one begins after every gigabyte."""
    position = 0
    while position + 8 <= size:
        file.seek(position)
        header = file.read(8)
        if header[:4] != b"RIFF":
            break
        position += 8 + int.from_bytes(header[4:], "little")
    return position


def _mkv_end(file: BinaryIO, size: int) -> int:
    """Where the segment of an MKV or WebM ends, by its own header; everything but a short head lies in it."""
    file.seek(4)  # the head's name
    head = _mkv_length(file)
    file.seek(head or 0, os.SEEK_CUR)
    if file.read(4) != b"\x18\x53\x80\x67":
        return size
    length = _mkv_length(file)
    return size if length is None else file.tell() + length


def _mkv_length(file: BinaryIO) -> int | None:
    """A number that begins with as many zero bits as it has bytes after its first; None: it is not known."""
    first = file.read(1)
    more = 8 - int.from_bytes(first, "big").bit_length()
    largest = (1 << 7 * (more + 1)) - 1
    length = int.from_bytes(first + file.read(more), "big") & largest
    return None if length == largest else length


def _mp4_end(file: BinaryIO, size: int) -> int:
    """Where the last top-level box of an MP4 ends, by its own header."""
    position = 0
    while position + 8 <= size:
        file.seek(position)
        header = file.read(16)
        length = int.from_bytes(header[:4], "big")
        if length == 1:  # the true length follows in 64 bits
            length = int.from_bytes(header[8:16], "big")
        if length == 0:  # the last box, as long as the file
            return size
        if length < 8:
            break
        position += length
    return position

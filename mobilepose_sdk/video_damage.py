"""Whether a video file has lost its end, told from its container alone."""

from __future__ import annotations

import os
from typing import BinaryIO


def is_cut_short(path: str) -> bool:
    """Whether an MP4, MOV or AVI promises more bytes than the file has; False for other formats and for no file.

    Decoders stop at the last whole frame of such a file as if the video ended there.
    """
    try:
        size = os.path.getsize(path)
        with open(path, "rb") as file:
            head = file.read(12)
            if head[:4] == b"RIFF":
                return 8 + int.from_bytes(head[4:8], "little") > size
            return head[4:8] in (b"ftyp", b"wide", b"moov", b"mdat", b"free") and _mp4_end(file, size) > size
    except OSError:
        return False


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

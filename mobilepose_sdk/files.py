"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4


def write_whole(path: Path, content: bytes) -> None:
    """Write a file at once: whoever reads it finds the old one or the new one, never half of it.

    A link stays one, and so does a device, such as /dev/stdout, which is written to as it is.

    Raises:
        OSError: it cannot be written; the file that was there before still is.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        target.write_bytes(content)
        return
    unfinished = target.with_name(f".{uuid4().hex}.part")
    try:
        unfinished.write_bytes(content)
        unfinished.replace(target)
    except BaseException:  # Ctrl-C leaves nothing behind either
        unfinished.unlink(missing_ok=True)
        raise

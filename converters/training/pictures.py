"""Decoded pictures in one memory-mapped file, so that an epoch costs no decoding."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from mobilepose_sdk.errors import SourceNotFoundError
from mobilepose_sdk.sources import read_picture

CACHE = Path("runs/cache")


class PicturePack:
    """Read-only BGR uint8 pictures of one annotation file, decoded once into ``runs/cache``.

    Args:
        annotations: the parsed COCO file.
        folder: where its ``images[].file_name`` lie.

    Raises:
        SourceNotFoundError: one of them is not there.
        SourceReadError: one cannot be read.
    """

    def __init__(self, annotations: dict[str, Any], folder: Path) -> None:
        images = annotations["images"]
        self._row = {image["id"]: row for row, image in enumerate(images)}
        files = [(name, *_state(folder / name)) for name in (image["file_name"] for image in images)]
        key = hashlib.sha256(json.dumps([str(folder.resolve()), files]).encode()).hexdigest()[:16]
        self._pixels_path, index_path = CACHE / f"{key}.bin", CACHE / f"{key}.npy"
        if not index_path.exists():
            self._write([folder / name for name, *_ in files], index_path)
        self._index: NDArray[np.int64] = np.load(index_path)
        self._pixels: NDArray[np.uint8] | None = None

    def _write(self, paths: list[Path], index_path: Path) -> None:
        CACHE.mkdir(parents=True, exist_ok=True)
        rows, offset = [], 0
        # Under another name until they are whole: another run may start at the same time.
        pixels, index = (path.with_suffix(f".{os.getpid()}{path.suffix}") for path in (self._pixels_path, index_path))
        try:
            with open(pixels, "wb") as out:
                for path in tqdm(paths, desc="decoding pictures", unit="picture"):
                    picture = read_picture(path)
                    out.write(picture.tobytes())
                    rows.append((offset, *picture.shape[:2]))
                    offset += picture.size
        except BaseException:
            pixels.unlink(missing_ok=True)
            raise
        np.save(index, np.array(rows, dtype=np.int64))
        pixels.replace(self._pixels_path)
        index.replace(index_path)  # last: it says that the pixels are there

    def __getitem__(self, image_id: int) -> NDArray[np.uint8]:
        if self._pixels is None:  # opened late: each data-loading process maps the file itself
            self._pixels = np.memmap(self._pixels_path, dtype=np.uint8, mode="r")
        offset, height, width = self._index[self._row[image_id]]
        return self._pixels[offset : offset + height * width * 3].reshape(height, width, 3)


def _state(path: Path) -> tuple[int, int]:
    """Bytes, and when it was changed: a picture that was replaced is decoded anew.

    Raises:
        SourceNotFoundError: there is no such picture.
    """
    try:
        state = path.stat()
    except FileNotFoundError as error:
        raise SourceNotFoundError(f"no picture {str(path)!r}") from error
    return state.st_size, state.st_mtime_ns

"""From whatever a caller holds to one picture: (H, W, 3) uint8, BGR, upright."""

from __future__ import annotations

import glob
import io
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from mobilepose_sdk.errors import (
    InvalidInputError,
    InvalidTypeError,
    MobilePoseError,
    SourceNotFoundError,
    SourceReadError,
)
from mobilepose_sdk.opencv import cv2

Array = NDArray[Any]
Picture = NDArray[np.uint8]
ColorOrder = Literal["bgr", "rgb"]
PictureSource: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | Array | Image.Image

MAX_PIXELS = 160_000_000
"""Encoded pictures of more pixels than this are refused before they are decoded (they would take 480 MB or more)."""

PICTURE_SUFFIXES = frozenset(
    ".apng .avif .bmp .dib .gif .jfif .jpe .jpeg .jpg .mpo .pbm .pgm .png .pnm .ppm .tif .tiff .webp".split()
)
"""What counts as a picture in a folder or behind a pattern. A file named on its own may be called anything."""

_ACCEPTED = "accepted: a path, an encoded file as bytes, an (H, W, 3) uint8 array, a PIL.Image"
_FORMATS = "JPEG, PNG, WebP, TIFF, BMP, GIF and what else Pillow opens"
_ORIENTATION_TAG = 0x0112


def read_picture(source: PictureSource, *, color: ColorOrder = "bgr") -> Picture:
    """Read one picture.

    Files, bytes and PIL pictures are turned upright as their EXIF orientation says. Grey, palette, CMYK and 16-bit grey
    (scaled from 0..65535 to 0..255) become BGR; what is transparent becomes black, so that colours hidden behind
    transparency are never looked at. Of an animation or a multi-page file the first frame is read. Colour profiles are
    ignored.

    Args:
        source: a path; the bytes of an encoded file; a uint8 array (H, W, 3), (H, W, 4) whose fourth channel is ignored
            (screen grabbers leave it undefined), or (H, W) or (H, W, 1) grey; or a PIL picture, read as its mode says.
        color: channel order of an *array*: ``"bgr"`` (OpenCV) or ``"rgb"``. Other sources know their own order.

    Returns:
        (H, W, 3) uint8, BGR, C-contiguous. It shares the memory of an array that already is all this: do not write to
        it.

    Raises:
        InvalidTypeError: ``source`` is of none of these types.
        InvalidInputError: an array's dtype or shape is not accepted, a picture has no pixels or more than
            :data:`MAX_PIXELS`, its samples are floats or 32-bit, or ``color`` is unknown.
        SourceNotFoundError: there is no such file.
        SourceReadError: a file or bytes cannot be read: a folder, no permission, empty, truncated, not a picture.
    """
    if color not in ("bgr", "rgb"):
        raise InvalidInputError(f"unknown color order {color!r}; accepted: 'bgr', 'rgb'")
    if isinstance(source, np.ndarray):
        return _from_array(source, color)
    if isinstance(source, Image.Image):
        return _from_pil(source, "the PIL picture")
    if isinstance(source, (bytes, bytearray, memoryview)):
        data = bytes(source)
        return _from_stream(io.BytesIO(data), f"the encoded picture of {len(data)} bytes")
    if isinstance(source, (str, os.PathLike)):
        return _from_path(os.fsdecode(source))
    kind = f"{type(source).__module__}.{type(source).__qualname__}".removeprefix("builtins.")
    raise InvalidTypeError(f"cannot read a picture from {kind}; {_ACCEPTED}")


def _from_array(array: Array, color: ColorOrder) -> Picture:
    shape = "×".join(map(str, array.shape)) or "no dimensions"
    if array.dtype != np.uint8:
        raise InvalidInputError(
            f"picture array must be uint8 with values 0..255, got {array.dtype} ({shape}); {_how_to_uint8(array.dtype)}"
        )
    channels = 1 if array.ndim == 2 else array.shape[2] if array.ndim == 3 else 0
    if channels not in (1, 3, 4):
        raise InvalidInputError(
            f"picture array must be (H, W, 3), (H, W, 4), (H, W, 1) or (H, W), got {shape}{_shape_hint(array)}"
        )
    if array.size == 0:
        raise InvalidInputError(f"picture array has no pixels: its shape is {shape}")
    if channels == 1:
        return _uint8(cv2.cvtColor(np.ascontiguousarray(array), cv2.COLOR_GRAY2BGR))
    if channels == 4:
        code = cv2.COLOR_BGRA2BGR if color == "bgr" else cv2.COLOR_RGBA2BGR
        return _uint8(cv2.cvtColor(np.ascontiguousarray(array), code))
    picture = array if color == "bgr" else array[:, :, ::-1]
    if picture.strides[2] < 0:  # channels turned round, as in rgb[..., ::-1]: NumPy takes thirty times as long
        return _uint8(cv2.cvtColor(np.ascontiguousarray(picture[:, :, ::-1]), cv2.COLOR_RGB2BGR))
    return np.ascontiguousarray(picture)


def _how_to_uint8(dtype: np.dtype[Any]) -> str:
    if dtype.kind == "f":
        return "convert values in 0..1 with (array * 255).round().clip(0, 255).astype(np.uint8)"
    if dtype.kind == "b":
        return "convert with array.astype(np.uint8) * 255"
    if dtype == np.uint16:
        return "convert values in 0..65535 with (array / 257).round().astype(np.uint8)"
    return "bring the values into 0..255, then .astype(np.uint8)"


def _shape_hint(array: Array) -> str:
    if array.ndim == 3 and array.shape[0] in (1, 3, 4):
        return "; it looks channels-first: pass array.transpose(1, 2, 0)"
    if array.ndim == 4:
        return "; it looks like a batch: pass one picture, array[i]"
    return ""


def _from_path(path: str) -> Picture:
    try:
        with open(path, "rb") as stream:
            # Pillow looks back and forth, which a pipe cannot.
            return _from_stream(io.BytesIO(stream.read()) if _is_pipe(path) else stream, repr(path))
    except FileNotFoundError:
        hint = "web addresses are not downloaded" if "://" in path else f"the working directory is {os.getcwd()!r}"
        raise SourceNotFoundError(f"no such picture: {path!r}; {hint}") from None
    except MobilePoseError:
        raise
    except io.UnsupportedOperation:
        raise SourceReadError(f"{path!r} is no file; pass one, or what it holds as bytes") from None
    except ValueError as error:
        raise InvalidInputError(f"not a path: {path!r} ({error})") from None
    except OSError as error:
        # Windows refuses to open a folder with "permission denied", so the error's own type does not tell.
        if os.path.isdir(path):
            raise SourceReadError(f"{path!r} is a folder; pass one picture of it at a time") from None
        raise SourceReadError(f"cannot open {path!r}: {error.strerror or error}") from error


def _is_pipe(path: str) -> bool:
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def _from_stream(stream: BinaryIO, name: str) -> Picture:
    """Read an encoded picture; ``name`` is how messages call it."""
    try:
        header = Image.open(stream)
    except UnidentifiedImageError:
        stream.seek(0)
        problem = f"is not a picture; accepted: {_FORMATS}" if stream.read(1) else "is empty"
        raise SourceReadError(f"{name} {problem}") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InvalidInputError(f"{name} is too large: {error}") from None
    except Exception as error:  # Pillow's parsers raise whatever they stumbled over.
        raise SourceReadError(f"{name} has a damaged header: {error}") from error
    with header:
        _check_size(header, name)
        picture = _decode_fast(header, stream, name)
        return _from_pil(header, name) if picture is None else _upright(picture, header)


def _check_size(image: Image.Image, name: str) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise InvalidInputError(
            f"{name} is too large: {width}×{height} is over {MAX_PIXELS // 10**6} megapixels; scale it down first"
        )
    if width * height == 0:
        raise InvalidInputError(f"{name} has no pixels: its size is {width}×{height}")


def _decode_fast(header: Image.Image, stream: BinaryIO, name: str) -> Picture | None:
    """Decode with OpenCV, where it is faster than Pillow and agrees with it; None elsewhere. Not yet upright."""
    # MPO is how Pillow calls a phone's JPEG with a second picture, such as a depth map, behind the first.
    jpeg = header.format in ("JPEG", "MPO")
    plain_webp = header.format == "WEBP" and not getattr(header, "is_animated", False)
    if header.mode not in ("RGB", "L") or not (jpeg or plain_webp):
        return None
    stream.seek(0)
    data = stream.read()
    if jpeg and not _jpeg_is_complete(data):
        # Many OpenCV 4 releases fill the missing rows with grey and say nothing.
        raise SourceReadError(f"{name} is truncated: the JPEG has no end marker; copy or download it again")
    try:
        # Orientation is left to Pillow: which formats OpenCV honours it in depends on the release.
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        return None
    return None if decoded is None else _uint8(decoded)


def _jpeg_is_complete(data: bytes) -> bool:
    """Whether an end marker follows the start of the scan; those of thumbnails in the header do not count."""
    position = 2
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            position += 1
        elif data[position + 1] == 0xDA:
            return data.find(b"\xff\xd9", position) >= 0
        elif data[position + 1] in (0xFF, 0x00, 0x01) or 0xD0 <= data[position + 1] <= 0xD9:
            position += 1
        else:
            position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return False


def _from_pil(image: Image.Image, name: str) -> Picture:
    _check_size(image, name)
    try:
        image.load()
        picture = _to_bgr(image, name)
    except MobilePoseError:
        raise
    except MemoryError as error:
        width, height = image.size
        raise SourceReadError(f"{name} does not fit into memory: {width}×{height}; scale it down first") from error
    except Exception as error:  # Pillow's decoders raise whatever they stumbled over.
        raise SourceReadError(f"{name} is damaged or truncated: {error}") from error
    # After load: Pillow turns a TIFF upright while loading it and then takes the tag away.
    return _upright(picture, image)


def _to_bgr(image: Image.Image, name: str) -> Picture:
    if image.mode == "F":
        raise InvalidInputError(f"{name} holds floats, whose range is unknown; convert it to 8 bits a channel first")
    if image.mode == "I" or image.mode.startswith("I;16"):
        return _uint8(cv2.cvtColor(_sixteen_to_eight_bits(np.asarray(image), name), cv2.COLOR_GRAY2BGR))
    if image.has_transparency_data:
        # Pillow converts premultiplied grey to nothing but its plain form.
        rgba = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        image = Image.new("RGB", rgba.size)
        image.paste(rgba, mask=rgba)
    return _uint8(cv2.cvtColor(np.asarray(image.convert("RGB")), cv2.COLOR_RGB2BGR))


def _sixteen_to_eight_bits(grey: Array, name: str) -> Picture:
    """(H, W) integers of 0..65535 to 0..255, rounded; Pillow itself would clip them at 255."""
    if grey.min() < 0 or grey.max() > 65535:
        raise InvalidInputError(f"{name} holds 32-bit samples; convert it to 8 bits a channel first")
    return ((grey.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _upright(picture: Picture, image: Image.Image) -> Picture:
    """Turn a decoded picture as the EXIF orientation of ``image`` says."""
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # A picture is worth reading even if its EXIF block is damaged.
        return picture
    if orientation in (5, 6, 7, 8):
        picture = _uint8(cv2.transpose(picture))
    flip = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}.get(orientation)
    return picture if flip is None else _uint8(cv2.flip(picture, flip))


def _uint8(array: Array) -> Picture:
    return np.ascontiguousarray(array, dtype=np.uint8)


class ExpandedInputs(NamedTuple):
    """What a list of inputs stands for.

    Attributes:
        paths: the pictures, in order, each once, as they were given (not made absolute).
        errors: one for every input that stands for no picture, in order; not raised.
    """

    paths: list[Path]
    errors: list[MobilePoseError]


def expand_inputs(inputs: Iterable[str | os.PathLike[str]]) -> ExpandedInputs:
    """Expand files, folders and glob patterns to pictures, without opening any.

    A file is kept whatever it is called. A folder stands for the pictures directly inside it, a pattern (``*``, ``?``,
    ``[…]``, and ``**`` for folders of any depth) for the pictures it matches; both are sorted, know pictures by
    :data:`PICTURE_SUFFIXES`, and leave hidden files out. An existing file or folder is never taken for a pattern.

    Raises:
        InvalidTypeError: ``inputs`` is one path instead of several, or holds something else than paths.
    """
    if isinstance(inputs, (str, bytes, os.PathLike)):
        raise InvalidTypeError(f"inputs must be several paths, got one: {inputs!r}; pass [{inputs!r}]")
    paths: dict[str, Path] = {}
    errors: list[MobilePoseError] = []
    for item in inputs:
        if not isinstance(item, (str, os.PathLike)):
            raise InvalidTypeError(f"inputs must be paths or patterns, got {type(item).__qualname__}: {item!r}")
        try:
            for path in _expand(os.fsdecode(item)):
                paths.setdefault(os.path.normcase(os.path.abspath(path)), path)
        except MobilePoseError as error:
            errors.append(error)
    return ExpandedInputs(list(paths.values()), errors)


def _expand(text: str) -> list[Path]:
    try:
        if os.path.isfile(text) or _is_pipe(text):
            return [Path(text)]
        if os.path.isdir(text):
            found = _pictures(Path(text).iterdir())
            problem = f"no pictures in the folder {text!r}"
        elif glob.has_magic(text):
            found = _pictures(map(Path, glob.iglob(text, recursive=True)))
            problem = f"no pictures match {text!r}"
        else:
            raise SourceNotFoundError(f"no such file or folder: {text!r}; the working directory is {os.getcwd()!r}")
    except MobilePoseError:
        raise
    except (OSError, ValueError) as error:
        raise SourceReadError(f"cannot look into {text!r}: {error}") from error
    if not found:
        raise SourceNotFoundError(f"{problem}; looked for {', '.join(sorted(PICTURE_SUFFIXES))}")
    return found


def _pictures(candidates: Iterable[Path]) -> list[Path]:
    return sorted(
        path
        for path in candidates
        if path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".") and path.is_file()
    )

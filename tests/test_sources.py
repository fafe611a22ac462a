"""What can be read, what it is read as, and what each thing that cannot be read says."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mobilepose_sdk import sources
from mobilepose_sdk.errors import (
    InvalidInputError,
    InvalidTypeError,
    MobilePoseError,
    SourceNotFoundError,
    SourceReadError,
)
from mobilepose_sdk.sources import MAX_PIXELS, expand_inputs, read_picture

RED_BGR = [0, 0, 255]
ORIENTATION = 0x0112

TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}
"""What a viewer does to the stored rows for each EXIF orientation, from the EXIF standard."""


def picture(height: int = 48, width: int = 64) -> np.ndarray:
    """A smooth RGB picture without symmetry, so that every turn and channel swap shows, and JPEG hardly alters it."""
    y, x = np.mgrid[:height, :width]
    channels = [255 * x / width, 255 * y / height, 255 * x * y / (width * height)]
    return np.stack(channels, axis=2).astype(np.uint8)


def encode(image: Image.Image | np.ndarray, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(buffer, kind, **options)
    return buffer.getvalue()


def oriented(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def assert_close(actual: np.ndarray, expected: np.ndarray, tolerance: int) -> None:
    assert actual.shape == expected.shape
    assert np.abs(actual.astype(int) - expected.astype(int)).max() <= tolerance


class TestForms:
    @pytest.mark.parametrize("form", ["str", "path", "bytes", "bytearray", "memoryview", "pil", "lazy pil"])
    def test_every_form_gives_the_same_picture(self, form: str, tmp_path: Path) -> None:
        path = tmp_path / "people.png"
        path.write_bytes(encode(picture(), "PNG"))
        forms: dict[str, Callable[[], Any]] = {
            "str": lambda: str(path),
            "path": lambda: path,
            "bytes": path.read_bytes,
            "bytearray": lambda: bytearray(path.read_bytes()),
            "memoryview": lambda: memoryview(path.read_bytes()),
            "pil": lambda: Image.fromarray(picture()),
            "lazy pil": lambda: Image.open(path),
        }
        source = forms[form]()
        read = read_picture(source)
        assert read.dtype == np.uint8 and read.flags.c_contiguous
        np.testing.assert_array_equal(read, picture()[:, :, ::-1])

    @pytest.mark.parametrize(
        ("kind", "tolerance"), [("JPEG", 12), ("PNG", 0), ("WEBP", 20), ("TIFF", 0), ("BMP", 0), ("PPM", 0)]
    )
    def test_formats(self, kind: str, tolerance: int) -> None:
        assert_close(read_picture(encode(picture(), kind)), picture()[:, :, ::-1], tolerance)

    @pytest.mark.parametrize("name", ["人々 und Füße.jpg", "with space.png", "[brackets]*.png", "no-suffix"])
    def test_any_file_name(self, name: str, tmp_path: Path) -> None:
        (tmp_path / name).write_bytes(encode(picture(), "PNG"))
        np.testing.assert_array_equal(read_picture(tmp_path / name), picture()[:, :, ::-1])

    def test_one_pixel(self) -> None:
        assert read_picture(encode(Image.new("RGB", (1, 1), "red"), "PNG")).tolist() == [[RED_BGR]]
        assert read_picture(encode(Image.new("RGB", (1, 1), "red"), "JPEG")).shape == (1, 1, 3)

    def test_color_concerns_arrays_only(self) -> None:
        data = encode(picture(), "PNG")
        np.testing.assert_array_equal(read_picture(data, color="rgb"), read_picture(data))
        pil = Image.fromarray(picture())
        np.testing.assert_array_equal(read_picture(pil, color="rgb"), read_picture(pil))

    def test_a_pil_picture_is_left_as_it_was(self) -> None:
        image = Image.open(io.BytesIO(encode(picture(), "JPEG", exif=oriented(6))))
        read_picture(image)
        assert image.size == (64, 48) and image.getexif()[ORIENTATION] == 6

    @pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="open files are counted through /proc")
    @pytest.mark.parametrize("cut", [0, 40])
    def test_files_are_closed(self, cut: int, tmp_path: Path) -> None:
        data = encode(picture(), "PNG")
        (tmp_path / "a.png").write_bytes(data[: len(data) - cut])
        before = len(os.listdir("/proc/self/fd"))
        caught = []
        for _ in range(3):
            try:
                read_picture(tmp_path / "a.png")
            except SourceReadError as error:
                caught.append(error)
        assert len(os.listdir("/proc/self/fd")) == before
        assert len(caught) == (3 if cut else 0)


class TestArrays:
    def test_bgr_and_rgb(self) -> None:
        np.testing.assert_array_equal(read_picture(picture()), picture())
        np.testing.assert_array_equal(read_picture(picture(), color="rgb"), picture()[:, :, ::-1])

    def test_the_fourth_channel_is_ignored(self) -> None:
        four = np.dstack([picture(), np.zeros((48, 64), np.uint8)])
        np.testing.assert_array_equal(read_picture(four), picture())
        np.testing.assert_array_equal(read_picture(four, color="rgb"), picture()[:, :, ::-1])

    @pytest.mark.parametrize("part", [np.s_[:, :], np.s_[3:9, 5:11], np.s_[::-1, ::2]])
    def test_channels_that_were_turned_round_are_turned_back(self, part: Any) -> None:
        rgb = np.ascontiguousarray(picture()[:, :, ::-1])[part]
        for read in (read_picture(rgb, color="rgb"), read_picture(rgb[:, :, ::-1])):
            assert read.flags.c_contiguous
            np.testing.assert_array_equal(read, picture()[part])

    @pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1)])
    def test_grey(self, shape: tuple[int, ...]) -> None:
        grey = np.arange(20, dtype=np.uint8).reshape(shape)
        np.testing.assert_array_equal(read_picture(grey), np.repeat(grey.reshape(4, 5, 1), 3, axis=2))

    @pytest.mark.parametrize("view", [np.s_[::-1], np.s_[:, ::2], np.s_[3:9, 5:11]])
    def test_views_become_contiguous(self, view: Any) -> None:
        read = read_picture(picture()[view])
        assert read.flags.c_contiguous
        np.testing.assert_array_equal(read, picture()[view])

    def test_a_fitting_array_is_not_copied_nor_made_read_only(self) -> None:
        array = picture()
        assert np.shares_memory(read_picture(array), array) and array.flags.writeable

    def test_a_read_only_array_is_read(self) -> None:
        array = picture()
        array.flags.writeable = False
        np.testing.assert_array_equal(read_picture(array, color="rgb"), array[:, :, ::-1])

    @pytest.mark.parametrize(
        ("dtype", "advice"),
        [
            (np.float32, "* 255"),
            (np.float64, "* 255"),
            (bool, "* 255"),
            (np.uint16, "/ 257"),
            (np.int64, "0..255"),
            (object, "0..255"),
        ],
    )
    def test_another_dtype_is_told_how_to_convert(self, dtype: Any, advice: str) -> None:
        with pytest.raises(InvalidInputError, match=r"uint8.*4×5×3") as caught:
            read_picture(np.zeros((4, 5, 3), dtype))
        assert np.dtype(dtype).name in str(caught.value) and advice in str(caught.value)

    def test_nan_is_refused(self) -> None:
        with pytest.raises(InvalidInputError, match="uint8"):
            read_picture(np.full((4, 5, 3), np.nan))

    @pytest.mark.parametrize(
        ("shape", "hint"),
        [
            ((3, 40, 50), "transpose"),
            ((1, 40, 50, 3), "batch"),
            ((40, 50, 2), "40×50×2"),
            ((40, 50, 5), "40×50×5"),
            ((40,), "got 40"),
            ((), "no dimensions"),
        ],
    )
    def test_another_shape_is_told_what_is_accepted(self, shape: tuple[int, ...], hint: str) -> None:
        with pytest.raises(InvalidInputError, match=r"\(H, W, 3\)") as caught:
            read_picture(np.zeros(shape, np.uint8))
        assert hint in str(caught.value)

    @pytest.mark.parametrize("shape", [(0, 5, 3), (5, 0, 3), (0, 0), (0, 5, 1), (0, 5, 4)])
    def test_no_pixels(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(InvalidInputError, match="no pixels"):
            read_picture(np.zeros(shape, np.uint8))


class TestOrientation:
    @pytest.mark.parametrize("orientation", TURNS)
    @pytest.mark.parametrize(("kind", "tolerance"), [("JPEG", 12), ("PNG", 0), ("WEBP", 20), ("TIFF", 0)])
    def test_files_are_turned_upright(self, kind: str, tolerance: int, orientation: int) -> None:
        data = encode(picture(), kind, exif=oriented(orientation))
        upright = TURNS[orientation](picture())[:, :, ::-1]
        assert_close(read_picture(data), upright, tolerance)
        assert_close(read_picture(Image.open(io.BytesIO(data))), upright, tolerance)
        assert read_picture(data).flags.c_contiguous

    @pytest.mark.parametrize("orientation", [0, 9, 255])
    def test_an_unknown_orientation_changes_nothing(self, orientation: int) -> None:
        data = encode(picture(), "PNG", exif=oriented(orientation))
        np.testing.assert_array_equal(read_picture(data), picture()[:, :, ::-1])

    def test_a_pil_picture_already_turned_is_not_turned_again(self) -> None:
        from PIL import ImageOps

        image = ImageOps.exif_transpose(Image.open(io.BytesIO(encode(picture(), "PNG", exif=oriented(6)))))
        np.testing.assert_array_equal(read_picture(image), TURNS[6](picture())[:, :, ::-1])

    @pytest.mark.filterwarnings("ignore:Corrupt EXIF")
    def test_a_damaged_exif_block_does_not_cost_the_picture(self) -> None:
        data = encode(picture(), "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff damaged")
        assert_close(read_picture(data), picture()[:, :, ::-1], 12)

    def test_nor_does_one_that_pillow_cannot_parse(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def getexif(_: Image.Image) -> None:
            raise SyntaxError("not a TIFF file")

        data = encode(picture(), "PNG", exif=oriented(6))
        monkeypatch.setattr(Image.Image, "getexif", getexif)
        monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.getexif", getexif)
        np.testing.assert_array_equal(read_picture(data), picture()[:, :, ::-1])


class TestModes:
    @pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG", "BMP"])
    def test_grey(self, kind: str) -> None:
        grey = picture()[:, :, 0]
        assert_close(read_picture(encode(grey, kind)), np.dstack([grey] * 3), 12 if kind == "JPEG" else 0)

    def test_black_and_white(self) -> None:
        image = Image.fromarray(picture()[:, :, 0] > 100)
        assert np.unique(read_picture(encode(image, "PNG"))).tolist() == [0, 255]

    @pytest.mark.parametrize("kind", ["PNG", "TIFF"])
    def test_sixteen_bits_are_scaled_not_wrapped_or_clipped(self, kind: str) -> None:
        deep = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64)
        expected = np.rint(deep / 257).astype(np.uint8)
        for source in (encode(deep, kind), Image.fromarray(deep)):
            np.testing.assert_array_equal(read_picture(source), np.dstack([expected] * 3))

    def test_sixteen_bits_as_pillow_once_opened_them(self) -> None:
        image = Image.fromarray(np.array([[0, 257, 65535]], dtype=np.int32))
        assert image.mode == "I"
        assert read_picture(image)[0, :, 0].tolist() == [0, 1, 255]

    @pytest.mark.parametrize("value", [-1, 65536])
    def test_thirty_two_bits_are_refused(self, value: int) -> None:
        with pytest.raises(InvalidInputError, match="32-bit"):
            read_picture(Image.fromarray(np.full((2, 2), value, dtype=np.int32)))

    def test_floats_are_refused(self) -> None:
        with pytest.raises(InvalidInputError, match="floats"):
            read_picture(encode(Image.fromarray(np.full((2, 2), np.nan, np.float32)), "TIFF"))

    @pytest.mark.parametrize("kind", ["PNG", "GIF"])
    def test_palette(self, kind: str) -> None:
        image = Image.new("RGB", (4, 4), "red").convert("P")
        assert read_picture(encode(image, kind))[2, 2].tolist() == RED_BGR

    @pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
    def test_cmyk(self, kind: str) -> None:
        data = encode(Image.new("RGB", (16, 16), "red").convert("CMYK"), kind)
        assert_close(read_picture(data), np.full((16, 16, 3), RED_BGR, np.uint8), 4)

    @pytest.mark.parametrize("mode", ["YCbCr", "HSV", "LAB", "CMYK", "RGBX", "La", "RGBa", "PA", "I;16B"])
    def test_every_mode_of_pillow(self, mode: str) -> None:
        assert read_picture(Image.new(mode, (5, 3))).shape == (3, 5, 3)

    @pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
    def test_what_is_transparent_becomes_black(self, kind: str) -> None:
        rgba = np.full((16, 16, 4), (255, 0, 0, 255), np.uint8)
        rgba[:8, :, 3] = 0
        rgba[8:, :8, 3] = 128
        exact = {"lossless": True, "exact": True} if kind == "WEBP" else {}
        for source in (encode(rgba, kind, **exact), Image.fromarray(rgba)):
            read = read_picture(source)
            assert read[0, 0].tolist() == [0, 0, 0]
            assert read[12, 4].tolist() == [0, 0, 128]
            assert read[12, 12].tolist() == RED_BGR

    def test_a_transparent_palette_entry_becomes_black(self) -> None:
        image = Image.new("P", (2, 1))
        image.putpalette([255, 0, 0, 0, 255, 0])
        image.putpixel((1, 0), 1)
        read = read_picture(encode(image, "PNG", transparency=1))
        assert read[0].tolist() == [RED_BGR, [0, 0, 0]]

    @pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
    def test_the_first_frame_of_several(self, kind: str) -> None:
        frames = [Image.new("RGB", (16, 16), color) for color in ("red", "lime", "blue")]
        exact = {"lossless": True} if kind == "WEBP" else {}
        data = encode(frames[0], kind, save_all=True, append_images=frames[1:], **exact)
        assert read_picture(data)[8, 8].tolist() == RED_BGR


class TestUnreadable:
    @pytest.mark.parametrize("source", [None, 0, 3.5, [[1, 2]], {"a": 1}, object(), np.float32(1)])
    def test_another_type_is_told_what_is_accepted(self, source: Any) -> None:
        with pytest.raises(InvalidTypeError, match=r"accepted: a path, .*bytes, .*uint8 array, .*PIL"):
            read_picture(source)

    @pytest.mark.parametrize("color", ["BGR", "gray", None])
    def test_an_unknown_color_order(self, color: Any) -> None:
        with pytest.raises(InvalidInputError, match="'bgr', 'rgb'"):
            read_picture(picture(), color=color)

    @pytest.mark.parametrize("path", ["missing.jpg", "no/such/folder/a.jpg", ""])
    def test_a_missing_file(self, path: str) -> None:
        with pytest.raises(SourceNotFoundError, match="no such picture.*working directory"):
            read_picture(path)

    def test_a_web_address(self) -> None:
        with pytest.raises(SourceNotFoundError, match="web addresses are not downloaded"):
            read_picture("https://example.org/a.jpg")

    def test_a_path_that_cannot_be_one(self) -> None:
        with pytest.raises(InvalidInputError, match="not a path"):
            read_picture("a\0b.jpg")

    def test_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(SourceReadError, match="is a folder"):
            read_picture(tmp_path)

    def test_a_file_used_as_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "a.jpg").write_bytes(b"x")
        with pytest.raises(MobilePoseError):
            read_picture(tmp_path / "a.jpg" / "b.jpg")

    def test_a_file_without_permission(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        def refuse(*arguments: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("builtins.open", refuse)  # no permission binds root, so it is refused here
        with pytest.raises(SourceReadError, match="cannot open.*Permission denied"):
            read_picture(tmp_path / "a.png")

    def test_an_empty_file_and_empty_bytes(self, tmp_path: Path) -> None:
        (tmp_path / "a.jpg").write_bytes(b"")
        for source in (tmp_path / "a.jpg", b""):
            with pytest.raises(SourceReadError, match="is empty"):
                read_picture(source)

    def test_text(self, tmp_path: Path) -> None:
        (tmp_path / "a.jpg").write_text("This is no picture.")
        with pytest.raises(SourceReadError, match=r"a\.jpg' is not a picture; accepted: JPEG, PNG"):
            read_picture(tmp_path / "a.jpg")

    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM"])
    @pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.98])
    def test_a_truncated_file(self, kind: str, share: float) -> None:
        noise = np.random.default_rng(0).integers(0, 255, (100, 120, 3), dtype=np.uint8)
        data = encode(noise, kind)
        with pytest.raises(SourceReadError):
            read_picture(data[: int(len(data) * share)])

    @pytest.mark.parametrize("progressive", [False, True])
    @pytest.mark.parametrize("missing", [1, 2, 50])
    def test_the_last_bytes_of_a_jpeg(self, missing: int, progressive: bool) -> None:
        data = encode(picture(), "JPEG", progressive=progressive)
        with pytest.raises(SourceReadError, match="truncated.*no end marker"):
            read_picture(data[:-missing])

    def test_the_end_of_a_thumbnail_is_not_the_end_of_its_picture(self) -> None:
        exif = b"Exif\x00\x00" + encode(Image.new("RGB", (8, 8)), "JPEG")
        data = encode(picture(), "JPEG", exif=exif)
        assert read_picture(data).shape == (48, 64, 3)
        with pytest.raises(SourceReadError, match="truncated"):
            read_picture(data[:-20])

    def test_bytes_after_the_end_of_a_jpeg_are_ignored(self) -> None:
        assert_close(read_picture(encode(picture(), "JPEG") + b"\0" * 99), picture()[:, :, ::-1], 12)

    def test_truncation_is_seen_without_the_help_of_opencv(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cv2, "imdecode", lambda *_: np.full((48, 64, 3), 128, np.uint8))
        with pytest.raises(SourceReadError, match="truncated"):
            read_picture(encode(picture(), "JPEG")[:-30])

    @pytest.mark.parametrize("answer", [None, cv2.error("limit")])
    def test_pillow_reads_what_opencv_does_not(self, answer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        def imdecode(*_: Any) -> None:
            if answer is not None:
                raise answer

        monkeypatch.setattr(cv2, "imdecode", imdecode)
        assert_close(read_picture(encode(picture(), "JPEG")), picture()[:, :, ::-1], 12)

    def test_a_damaged_pil_picture(self) -> None:
        image = Image.open(io.BytesIO(encode(picture(), "PNG")[:-60]))
        with pytest.raises(SourceReadError, match="the PIL picture is damaged or truncated"):
            read_picture(image)

    @pytest.mark.parametrize("size", [(0, 5), (5, 0)])
    def test_a_pil_picture_without_pixels(self, size: tuple[int, int]) -> None:
        with pytest.raises(InvalidInputError, match="no pixels"):
            read_picture(Image.new("RGB", size))

    @given(st.binary(max_size=200))
    @settings(max_examples=150, deadline=None)
    def test_any_bytes_are_a_typed_error(self, data: bytes) -> None:
        with pytest.raises(MobilePoseError):
            read_picture(b"!" + data)

    @pytest.mark.filterwarnings("ignore")
    @given(st.sampled_from(["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP"]), st.data())
    @settings(max_examples=200, deadline=None)
    def test_a_damaged_file_is_a_picture_or_a_typed_error(self, kind: str, draw: st.DataObject) -> None:
        data = bytearray(encode(picture(9, 7), kind))
        for position in draw.draw(st.lists(st.integers(0, len(data) - 1), min_size=1, max_size=6)):
            data[position] = draw.draw(st.integers(0, 255))
        try:
            read = read_picture(data)
        except MobilePoseError as error:
            assert str(error)
        else:
            assert read.ndim == 3 and read.shape[2] == 3 and read.dtype == np.uint8


class TestBombs:
    @staticmethod
    def bomb(width: int, height: int) -> bytes:
        """A BMP header of that size with no pixels behind it: decoding it would have to fail."""
        header = b"BM" + (54).to_bytes(4, "little") + bytes(4) + (54).to_bytes(4, "little")
        info = (40).to_bytes(4, "little") + width.to_bytes(4, "little") + height.to_bytes(4, "little")
        return header + info + (1).to_bytes(2, "little") + (24).to_bytes(2, "little") + bytes(24)

    @pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
    @pytest.mark.parametrize("width", [16_001, 17_000, 60_000, 2**30])
    def test_refused_before_decoding(self, width: int) -> None:
        with pytest.raises(InvalidInputError, match="is too large"):
            read_picture(self.bomb(width, 10_000))

    @pytest.mark.filterwarnings("error::PIL.Image.DecompressionBombWarning")
    def test_refused_where_pillows_warning_is_an_error(self) -> None:
        with pytest.raises(InvalidInputError, match="is too large"):
            read_picture(self.bomb(10_000, 10_000))

    @pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
    def test_the_limit_itself_is_allowed(self) -> None:
        assert MAX_PIXELS == 16_000 * 10_000
        with pytest.raises(SourceReadError, match="truncated"):  # Read on, to find that no pixels follow.
            read_picture(self.bomb(16_000, 10_000))

    def test_a_pil_picture_counts_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sources, "MAX_PIXELS", 100)
        assert read_picture(Image.new("RGB", (10, 10))).shape == (10, 10, 3)
        with pytest.raises(InvalidInputError, match="11×10 is over"):
            read_picture(Image.new("RGB", (11, 10)))


class TestExpandInputs:
    @pytest.fixture
    def album(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        for name in ("b.jpg", "a.PNG", "c.webp", "notes.txt", ".hidden.jpg", "deep/d.jpg", "deep/er/e.jpg", "[1].jpg"):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        (tmp_path / "empty").mkdir()
        (tmp_path / "folder.jpg").mkdir()
        monkeypatch.chdir(tmp_path)
        return tmp_path

    @pytest.mark.parametrize(
        ("inputs", "expected"),
        [
            ([], []),
            (["b.jpg"], ["b.jpg"]),
            (["notes.txt"], ["notes.txt"]),
            (["."], ["[1].jpg", "a.PNG", "b.jpg", "c.webp"]),
            (["deep"], ["deep/d.jpg"]),
            (["*.jpg"], ["[1].jpg", "b.jpg"]),
            (["[ab].*"], ["a.PNG", "b.jpg"]),
            (["[1].jpg"], ["[1].jpg"]),
            (["**/*.jpg"], ["[1].jpg", "b.jpg", "deep/d.jpg", "deep/er/e.jpg"]),
            (["deep/**"], ["deep/d.jpg", "deep/er/e.jpg"]),
            (["c.webp", "b.jpg"], ["c.webp", "b.jpg"]),
            (["b.jpg", "./b.jpg", "deep/../b.jpg", "*.jpg"], ["b.jpg", "[1].jpg"]),
        ],
    )
    def test_expansion(self, inputs: list[str], expected: list[str], album: Path) -> None:
        paths, errors = expand_inputs(inputs)
        assert paths == [Path(name) for name in expected]
        assert errors == []

    def test_paths_and_generators_are_taken(self, album: Path) -> None:
        assert expand_inputs(Path(name) for name in ["b.jpg"]).paths == [Path("b.jpg")]

    def test_absolute_and_relative_are_one_file(self, album: Path) -> None:
        assert expand_inputs([album / "b.jpg", "b.jpg"]).paths == [album / "b.jpg"]

    @pytest.mark.parametrize(
        ("missing", "message"),
        [
            ("gone.jpg", "no such file or folder: 'gone.jpg'"),
            ("empty", "no pictures in the folder 'empty'"),
            ("*.gif", r"no pictures match '\*\.gif'"),
            ("*.txt", r"no pictures match '\*\.txt'"),
        ],
    )
    def test_what_is_missing_is_reported_and_the_rest_goes_on(self, missing: str, message: str, album: Path) -> None:
        paths, errors = expand_inputs(["c.webp", missing, "b.jpg"])
        assert paths == [Path("c.webp"), Path("b.jpg")]
        (error,) = errors
        with pytest.raises(SourceNotFoundError, match=message):
            raise error

    def test_a_name_no_file_can_have_is_reported(self, album: Path) -> None:
        paths, errors = expand_inputs(["a\0b", "b.jpg"])
        assert paths == [Path("b.jpg")] and len(errors) == 1

    def test_a_broken_link_is_reported(self, album: Path) -> None:
        try:
            (album / "link.jpg").symlink_to("nowhere.jpg")
        except OSError:
            pytest.skip("links cannot be made here")
        assert [type(error) for error in expand_inputs(["link.jpg"]).errors] == [SourceNotFoundError]

    @pytest.mark.parametrize("inputs", ["b.jpg", b"b.jpg", Path("b.jpg")])
    def test_one_path_is_not_several(self, inputs: Any) -> None:
        with pytest.raises(InvalidTypeError, match="several paths"):
            expand_inputs(inputs)

    def test_something_else_than_paths(self) -> None:
        with pytest.raises(InvalidTypeError, match="int: 3"):
            expand_inputs([3])  # type: ignore[list-item]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes in folders")
def test_a_pipe_is_read_like_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writing = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=[encode(picture(), "PNG")])
    assert expand_inputs([tmp_path / "pipe"]).paths == [tmp_path / "pipe"]
    writing.start()
    assert_close(read_picture(tmp_path / "pipe"), picture()[:, :, ::-1], 0)
    writing.join()


def test_too_little_memory_is_no_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(image: Image.Image, mode: str) -> None:
        raise MemoryError

    data = encode(picture(), "PNG")
    monkeypatch.setattr(Image.Image, "convert", full)
    with pytest.raises(SourceReadError, match="does not fit into memory: 64×48"):
        read_picture(data)

"""``mobilepose image``, with a fake estimator behind it."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from programs import Standing, read_json, stand_in

from mobilepose_sdk.cli import main
from mobilepose_sdk.cli.common import FAILED, OK, SOME_FAILED
from mobilepose_sdk.errors import ModelNotFoundError
from mobilepose_sdk.results import PoseResult

pytestmark = pytest.mark.usefixtures("asked")


def test_image_writes_annotated_pictures_and_results(pictures, out):
    names = pictures("a.png", "b.png")
    assert main(["image", *names, "-o", str(out)]) == OK
    assert sorted(path.name for path in out.iterdir()) == ["a.pose.jpg", "b.pose.jpg", "images.json", "results.json"]
    annotated = cv2.imread(str(out / "a.pose.jpg"))
    assert annotated.shape == (40, 60, 3)
    assert annotated.astype(int).std() > 10  # somebody was drawn onto the grey
    images, results = read_json(out / "images.json"), read_json(out / "results.json")
    assert images == [{"id": i, "file_name": name, "width": 60, "height": 40} for i, name in enumerate(names, 1)]
    assert [entry["image_id"] for entry in results] == [1, 2]
    assert results[0] == Standing()(np.zeros((40, 60, 3))).to_coco(1)[0]


def test_image_prints_a_table(pictures, out, capsys):
    (name,) = pictures("a.png")
    main(["image", name, "-o", str(out)])
    printed = capsys.readouterr()
    header, _, row, last = printed.out.splitlines()
    assert header.split() == ["picture", "people", "scores", "annotated"]
    assert row.split() == [name, "1", "0.75", str(out / "a.pose.jpg")]
    assert str(out / "results.json") in last
    assert printed.err == ""


def test_without_an_output_folder_image_says_who_is_there_and_writes_nothing(pictures, tmp_path, monkeypatch, capsys):
    (name,) = pictures("a.png")
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert main(["image", name]) == OK
    header, _, row = capsys.readouterr().out.splitlines()
    assert header.split() == ["picture", "people", "scores"]
    assert row.split() == [name, "1", "0.75"]
    assert main(["image", name, "--json"]) == OK
    found = json.loads(capsys.readouterr().out)
    assert found["file"] == name and len(found["people"]) == 1 and "annotated" not in found
    assert sorted(tmp_path.rglob("*")) == before


def test_json_prints_one_object_a_picture(pictures, out, capsys):
    names = pictures("a.png", "b.png")
    assert main(["image", *names, "-o", str(out), "--json"]) == OK
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["file"] for line in lines] == names
    assert lines[0]["annotated"] == str(out / "a.pose.jpg")
    assert lines[0]["image_size"] == [60, 40]
    assert len(lines[0]["people"][0]["keypoints"]) == 17


def test_folders_and_patterns_are_expanded(pictures, out, tmp_path):
    pictures("in/a.png", "in/b.png", "other/c.png")
    assert main(["image", str(tmp_path / "in"), str(tmp_path / "other" / "*.png"), "-o", str(out)]) == OK
    assert len(read_json(out / "images.json")) == 3


def test_one_bad_file_among_many_does_not_stop_the_rest(pictures, out, tmp_path, capsys):
    first, last = pictures("a.png", "c.png")
    bad = tmp_path / "b.png"
    bad.write_bytes(b"no picture")
    missing = str(tmp_path / "missing.png")
    assert main(["image", first, str(bad), missing, last, "-o", str(out)]) == SOME_FAILED
    assert [image["file_name"] for image in read_json(out / "images.json")] == [first, last]
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert all(line.startswith("mobilepose: ") for line in said)
    assert any("b.png" in line for line in said)
    assert any("missing.png" in line for line in said)


def test_image_ids_of_results_are_those_of_the_images(pictures, out, tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    main(["image", str(tmp_path / "a.png"), *pictures("b.png"), "-o", str(out)])
    (image,), (result,) = read_json(out / "images.json"), read_json(out / "results.json")
    assert image["id"] == result["image_id"]


@pytest.mark.parametrize("exists", [True, False], ids=["unreadable", "missing"])
def test_when_every_input_fails_nothing_could_be_done(out, tmp_path, exists, capsys):
    path = tmp_path / "bad.png"
    if exists:
        path.write_bytes(b"no picture")
    assert main(["image", str(path), "-o", str(out)]) == FAILED
    assert "bad.png" in capsys.readouterr().err


def test_an_estimator_that_cannot_be_made_is_said_in_one_line(pictures, out, monkeypatch, capsys):
    def fail(options):
        raise ModelNotFoundError("no pose model 'x'")

    stand_in(monkeypatch, fail)
    assert main(["image", *pictures("a.png"), "-o", str(out)]) == FAILED
    assert capsys.readouterr().err == "mobilepose: no pose model 'x'\n"


def test_a_dash_reads_names_from_stdin(pictures, out, monkeypatch):
    names = pictures("a.png", "name with spaces.png")
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(names) + "\n\n"))
    assert main(["image", "-", *pictures("c.png"), "-o", str(out)]) == OK
    assert len(read_json(out / "images.json")) == 3


@pytest.mark.parametrize("stdin", [io.StringIO(""), None], ids=["empty", "none"])
def test_an_empty_stdin_is_nothing_to_do(out, monkeypatch, capsys, stdin):
    monkeypatch.setattr(sys, "stdin", stdin)
    assert main(["image", "-", "-o", str(out)]) == FAILED
    assert "no pictures were named on stdin" in capsys.readouterr().err


def test_same_stems_do_not_overwrite_one_another(pictures, out):
    names = pictures("x/a.png", "y/a.png", "z/A.bmp", "a-2.png")
    assert main(["image", *names, "-o", str(out)]) == OK
    written = [path.name for path in out.glob("*.jpg")]
    assert len(written) == len({name.lower() for name in written}) == 4


def test_non_ascii_names_are_kept(pictures, out, capsys):
    (name,) = pictures("людина 人 ü.png")
    assert main(["image", name, "-o", str(out), "--json"]) == OK
    assert (out / "людина 人 ü.pose.jpg").stat().st_size > 0
    assert json.loads(capsys.readouterr().out)["file"] == name


def test_a_name_as_long_as_the_system_takes_is_kept(pictures, out):
    name = "a" * (255 - len(".pose.jpg"))
    assert main(["image", *pictures(f"{name}.png"), "-o", str(out)]) == OK
    assert (out / f"{name}.pose.jpg").stat().st_size > 0


def test_a_terminal_without_the_letters_of_a_name_is_no_failure(pictures, out, monkeypatch):
    (name,) = pictures("人.png")
    for stream in ("stdout", "stderr"):
        monkeypatch.setattr(sys, stream, io.TextIOWrapper(io.BytesIO(), encoding="cp1252"))
    assert main(["image", name, name + "x", "-o", str(out)]) == SOME_FAILED


def test_an_output_that_is_no_folder_is_refused(pictures, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["image", *pictures("a.png"), "-o", str(tmp_path / "file")]) == FAILED
    assert "cannot make the output folder" in capsys.readouterr().err


def test_a_picture_that_cannot_be_written_fails_alone(pictures, out, capsys):
    (out / "a.pose.jpg").mkdir(parents=True)
    assert main(["image", *pictures("a.png", "b.png"), "-o", str(out)]) == SOME_FAILED
    assert "a.pose.jpg" in capsys.readouterr().err


@pytest.mark.parametrize("refusal", ["of this OpenCV", "of OpenCV 4.8"])
def test_a_picture_too_long_for_jpeg_fails_alone(refusal, pictures, out, monkeypatch, capsys):
    encode = cv2.imencode

    def encode_or_raise(suffix, picture):
        if picture.shape[1] > 65_500:
            raise cv2.error("Maximum supported image dimension is 65500 pixels")
        return encode(suffix, picture)

    names = pictures("a.png") + pictures("long.png", size=(2, 66_000))
    if refusal == "of OpenCV 4.8":
        monkeypatch.setattr(cv2, "imencode", encode_or_raise)
    assert main(["image", *names, "-o", str(out)]) == SOME_FAILED
    assert "too large" in capsys.readouterr().err
    assert not (out / "long.pose.jpg").exists()


def test_results_that_cannot_be_written_are_said_and_the_table_stands(pictures, out, capsys):
    (out / "results.json").mkdir(parents=True)
    assert main(["image", *pictures("a.png"), "-o", str(out)]) == SOME_FAILED
    said = capsys.readouterr()
    assert "results.json" in said.err and "a.pose.jpg" in said.out
    assert sorted(path.name for path in out.iterdir()) == ["a.pose.jpg", "results.json"]


def test_a_run_that_does_nothing_leaves_an_earlier_ones_results(pictures, out, monkeypatch):
    names = pictures("a.png")
    assert main(["image", *names, "-o", str(out)]) == OK
    before = read_json(out / "results.json")

    def fail(options):
        raise ModelNotFoundError("no pose model 'x'")

    stand_in(monkeypatch, fail)
    assert main(["image", *names, "-o", str(out)]) == FAILED
    assert read_json(out / "results.json") == before


def test_its_own_pictures_are_nothing_to_do(pictures, out, capsys):
    assert main(["image", *pictures("a.png"), "-o", str(out)]) == OK
    assert main(["image", str(out / "a.pose.jpg"), "-o", str(out)]) == FAILED
    assert "nothing to do" in capsys.readouterr().err


def test_a_picture_without_memory_fails_alone(pictures, out, monkeypatch, capsys):
    names, plot = pictures("a.png", "b.png"), PoseResult.plot

    def full(result, picture):
        monkeypatch.setattr(PoseResult, "plot", plot)
        raise MemoryError

    monkeypatch.setattr(PoseResult, "plot", full)
    assert main(["image", *names, "-o", str(out)]) == SOME_FAILED
    assert "not enough memory" in capsys.readouterr().err


def test_options_reach_the_estimator(monkeypatch, pictures, out):
    from mobilepose_sdk import estimator

    monkeypatch.undo()
    given = {}
    monkeypatch.setattr(estimator, "PoseEstimator", lambda **options: given.update(options) or Standing())
    options = "--model m --detector none --precision fp16 --decoder quarter-offset --flip-test --threads 2".split()
    options += "--blur 1.5 --nms none --scales 0.5,1".split()
    assert main(["image", *pictures("a.png"), "-o", str(out), *options]) == OK
    assert given == {
        "model": "m",
        "detector": None,
        "precision": "fp16",
        "decoder": "quarter-offset",
        "flip_test": True,
        "threads": 2,
        "blur": 1.5,
        "nms": None,
        "scales": [0.5, 1],
    }


def test_options_not_given_are_left_to_the_estimator(monkeypatch, pictures, out):
    from mobilepose_sdk import estimator

    monkeypatch.undo()
    given = []
    monkeypatch.setattr(estimator, "PoseEstimator", lambda **options: given.append(options) or Standing())
    main(["image", *pictures("a.png"), "-o", str(out)])
    assert given == [{}]


def test_an_output_folder_that_is_also_the_input_is_not_annotated_twice(pictures, tmp_path):
    folder = str(Path(pictures("album/1.png", "album/2.png")[0]).parent)
    assert main(["image", folder, "-o", folder]) == OK
    before = sorted(os.listdir(folder))
    assert main(["image", folder, "-o", folder]) == OK
    assert sorted(os.listdir(folder)) == before


def test_an_interrupted_run_keeps_the_results_so_far(monkeypatch, pictures, out):
    class Interrupted(Standing):
        calls = 0

        def __call__(self, picture, boxes=None):
            Interrupted.calls += 1
            if Interrupted.calls > 1:
                raise KeyboardInterrupt
            return super().__call__(picture, boxes)

    stand_in(monkeypatch, lambda options: Interrupted())
    assert main(["image", *pictures("1.png", "2.png"), "-o", str(out)]) == 130
    assert len(read_json(out / "results.json")) == 1

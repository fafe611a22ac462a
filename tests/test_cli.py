"""The ``mobilepose`` program, with a fake estimator behind it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from fakes import make_card, write_model

import mobilepose_sdk
from mobilepose_sdk import models
from mobilepose_sdk.cli import COMMANDS, main
from mobilepose_sdk.cli.common import FAILED, OK, SOME_FAILED
from mobilepose_sdk.errors import ModelNotFoundError
from mobilepose_sdk.metrics import COCO_STATS
from mobilepose_sdk.results import PoseResult
from mobilepose_sdk.skeleton import COCO_17

ROOT = Path(mobilepose_sdk.__file__).resolve().parent.parent
WRONG_USAGE = 2


def stand_in(monkeypatch, open_estimator) -> None:
    """Every command opens this instead of an estimator."""
    for command in COMMANDS:
        if hasattr(command, "open_estimator"):
            monkeypatch.setattr(command, "open_estimator", open_estimator)


class Standing:
    """An estimator that finds one person, who fills the picture."""

    workers = 1
    card = make_card()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def __call__(self, picture, boxes=None):
        height, width = picture.shape[:2]
        box = np.array([[0, 0, width, height]]) if boxes is None else np.asarray(boxes)
        keypoints = np.linspace(box[:, :2], box[:, 2:], 17).transpose(1, 0, 2)
        n = len(box)
        return PoseResult(keypoints, np.ones((n, 17)), box, np.full(n, 0.75), (width, height), COCO_17)

    def batch(self, images, boxes):
        return [self(cv2.imread(str(path)), given) for path, given in zip(images, boxes, strict=True)]


@pytest.fixture(autouse=True)
def asked(monkeypatch):
    """The options that estimators were asked for; all are fake."""
    options: list = []
    stand_in(monkeypatch, lambda given: options.append(given) or Standing())
    return options


@pytest.fixture
def pictures(tmp_path):
    """Writes pictures under names; returns their paths as text."""

    def write(*names: str, size=(40, 60)) -> list[str]:
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(cv2.imencode(".png", np.full((*size, 3), 90, np.uint8))[1].tobytes())
        return [str(tmp_path / name) for name in names]

    return write


@pytest.fixture
def out(tmp_path):
    return tmp_path / "deep" / "out"


def read_json(path: Path):
    return json.loads(path.read_text(encoding="utf-8"))


# mobilepose image


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


def test_an_empty_stdin_is_nothing_to_do(out, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
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


def test_a_picture_too_long_for_jpeg_fails_alone(pictures, out, capsys):
    names = pictures("a.png") + pictures("long.png", size=(2, 66_000))
    assert main(["image", *names, "-o", str(out)]) == SOME_FAILED
    assert "too large" in capsys.readouterr().err
    assert not (out / "long.pose.jpg").exists()


def test_results_that_cannot_be_written_are_said(pictures, out, capsys):
    (out / "results.json").mkdir(parents=True)
    assert main(["image", *pictures("a.png"), "-o", str(out)]) == FAILED
    assert "results.json" in capsys.readouterr().err


def test_an_interrupt_is_no_traceback(pictures, out, monkeypatch, capsys):
    def interrupt(options):
        raise KeyboardInterrupt

    stand_in(monkeypatch, interrupt)
    assert main(["image", *pictures("a.png"), "-o", str(out)]) == 130
    assert "interrupted" in capsys.readouterr().err


BAD_OPTIONS = ("--threads many", "--threads 0", "--threads -1", "--scales a,b", "--nms mean", "--blur wide")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["images"],
        ["image"],
        ["image", "a.jpg"],
        *(["image", "a.jpg", "-o", "out", *option.split()] for option in BAD_OPTIONS),
    ],
    ids=" ".join,
)
def test_wrong_usage_has_its_own_exit_code(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == WRONG_USAGE
    assert "usage: mobilepose" in capsys.readouterr().err


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


# mobilepose models


@pytest.fixture
def packaged(monkeypatch, tmp_path):
    folder = tmp_path / "prebuilt"
    write_model(folder / "tiny", name="tiny", accuracy={"openvino-int8": {"AP": 0.5125}})
    write_model(folder / "finder", kind="detector", name="finder")
    monkeypatch.setattr(models, "prebuilt_folder", lambda: folder)
    models._catalogue.cache_clear()
    yield
    models._catalogue.cache_clear()


def test_models_prints_a_table(packaged, capsys):
    assert main(["models"]) == OK
    header, _, finder, tiny = capsys.readouterr().out.splitlines()
    assert header.split() == ["model", "kind", "input", "params", "MACs", "files", "size", "measured"]
    assert finder.split()[:3] == ["finder", "detector", "128×96"]
    assert tiny.split()[:2] == ["tiny", "top-down"]
    assert tiny.endswith("AP 0.512")


def test_models_prints_json(packaged, capsys):
    assert main(["models", "--json"]) == OK
    finder, tiny = json.loads(capsys.readouterr().out)
    assert (finder["name"], tiny["name"]) == ("finder", "tiny")
    assert tiny["files"]["openvino"]["int8"][0]["path"] == "openvino/int8.xml"


def test_without_models_the_table_is_empty(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(models, "_catalogue", dict)
    assert main(["models"]) == OK
    assert len(capsys.readouterr().out.splitlines()) == 2


# mobilepose evaluate


@pytest.fixture
def annotations(pictures, tmp_path):
    """Two pictures by two sources, each with one person, who stands as the fake estimator says."""
    pictures("images/1.png", "images/2.png")
    keypoints = np.dstack([Standing()(np.zeros((40, 60, 3))).keypoints, np.full((1, 17), 2)]).ravel().tolist()
    person = {"category_id": 1, "bbox": [0, 0, 60, 40], "area": 2400, "iscrowd": 0, "num_keypoints": 17}
    content = {
        "images": [
            {"id": i, "file_name": f"{i}.png", "width": 60, "height": 40, "source": s} for i, s in ((1, "a"), (2, "b"))
        ],
        "annotations": [{**person, "id": i, "image_id": i, "keypoints": keypoints} for i in (1, 2)],
        "categories": [{"id": 1, "name": "person"}],
    }
    (tmp_path / "people.json").write_text(json.dumps(content))
    return tmp_path / "people.json"


def tables(capsys) -> list[list[str]]:
    """The lines of each printed table."""
    return [part.splitlines() for part in capsys.readouterr().out.split("\n\n")]


def test_evaluate_prints_a_row_a_source(annotations, capsys):
    assert main(["evaluate", str(annotations)]) == OK
    average_precision, shares, _ = tables(capsys)
    (header, _, *rows) = average_precision
    assert header == "source  AP     AP50   AP75   AP M   AP L  AR     AR50   AR75   AR M   AR L"
    assert [row.split()[0] for row in rows] == ["all", "a", "b"]
    assert rows[0].split()[1:] == [*["1.000"] * 4, "–", *["1.000"] * 4, "–"]  # nobody is large
    (header, _, *rows) = shares
    assert header.split() == ["source", "PCK@0.2", "people", "pictures"]
    assert [row.split() for row in rows] == [
        ["all", "1.000", "2", "2"],
        ["a", "1.000", "1", "1"],
        ["b", "1.000", "1", "1"],
    ]


def test_evaluate_prints_a_row_a_keypoint(annotations, capsys):
    main(["evaluate", str(annotations)])
    header, _, *rows = tables(capsys)[2]
    assert header.split() == ["keypoint", "PCK@0.2", "OKS", "labelled"]
    assert [row.split()[0] for row in rows] == list(COCO_17.names)
    assert rows[0].split() == ["nose", "–", "1.000", "2"]
    assert rows[-1].split() == ["right_ankle", "1.000", "1.000", "2"]


def test_the_tables_of_evaluate_fit_into_100_columns(annotations, capsys):
    content = read_json(annotations)
    content["images"][0]["source"] = "a source with a name that is much too long to be shown"
    content["annotations"][0]["bbox_head"] = [0, 0, 20, 20]
    annotations.write_text(json.dumps(content))
    assert main(["evaluate", str(annotations)]) == OK
    printed = capsys.readouterr().out
    assert "a source with a name that … " in printed
    assert "PCKh@0.5" in printed
    assert max(map(len, printed.splitlines())) <= 100


def test_evaluate_measures_a_results_file_without_a_model(annotations, tmp_path, asked, capsys):
    main(["evaluate", str(annotations), "--results", str(tmp_path / "results.json"), "--json"])
    first = capsys.readouterr().out
    asked.clear()
    assert main(["evaluate", str(annotations), "--from-results", str(tmp_path / "results.json"), "--json"]) == OK
    assert capsys.readouterr().out == first
    assert asked == []


@pytest.mark.parametrize("option", [["--model", "m"], ["--boxes", "detected"], ["--results", "r"], ["--flip-test"]])
def test_options_of_a_model_make_no_sense_with_a_results_file(annotations, option, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["evaluate", str(annotations), "--from-results", "r.json", *option])
    assert stopped.value.code == WRONG_USAGE
    assert option[0] in capsys.readouterr().err


def test_evaluate_says_that_a_bottom_up_model_takes_no_boxes(annotations, monkeypatch, capsys):
    class Seeing(Standing):
        card = make_card(name="crowd", approach="bottom-up")

        def batch(self, images, boxes):
            assert boxes is None
            return super().batch(images, [None] * len(images))

    stand_in(monkeypatch, lambda options: Seeing())
    assert main(["evaluate", str(annotations)]) == OK
    assert capsys.readouterr().err == (
        "crowd is a bottom-up model: it takes no boxes and finds people in whole pictures\n"
    )
    assert main(["evaluate", str(annotations), "--boxes", "detected"]) == OK
    assert capsys.readouterr().err == ""


def test_evaluate_says_what_the_model_cannot_know(annotations, capsys):
    content = read_json(annotations)
    for person in content["annotations"]:
        person["keypoints"] = person["keypoints"][:48]
    annotations.write_text(json.dumps(content))
    assert main(["evaluate", str(annotations)]) == OK
    assert capsys.readouterr().err == "the model does not have upper_neck, head_top: counted as wrong\n"


def test_evaluate_prints_json_without_nan(annotations, capsys):
    """Nobody is medium-sized or large here, and source b has nobody left."""
    content = read_json(annotations)
    del content["annotations"][1]
    annotations.write_text(json.dumps(content))
    # With detected boxes every picture counts, those without people too.
    Standing.batch, batch = (lambda self, images, boxes: batch(self, images, [None] * len(images))), Standing.batch
    try:
        assert main(["evaluate", str(annotations), "--boxes", "detected", "--json"]) == OK
    finally:
        Standing.batch = batch
    figures = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert figures["a"]["PCK@0.2"] == 1
    assert figures["b"]["PCK@0.2"] is None
    assert figures["b"]["pictures"] == 1
    assert set(COCO_STATS) < set(figures["all"])
    assert figures["a"]["keypoints"]["left_hip"] == {"labelled": 1, "PCK@0.2": 1, "OKS": 1}
    assert figures["b"]["keypoints"]["left_hip"] == {"labelled": 0, "PCK@0.2": None, "OKS": None}


def test_evaluate_writes_results(annotations, tmp_path):
    assert main(["evaluate", str(annotations), "--results", str(tmp_path / "results.json")]) == OK
    assert [entry["image_id"] for entry in read_json(tmp_path / "results.json")] == [1, 2]


def test_evaluate_takes_the_pictures_from_another_folder(annotations, tmp_path, capsys):
    (tmp_path / "images").rename(tmp_path / "elsewhere")
    assert main(["evaluate", str(annotations), "--images", str(tmp_path / "elsewhere")]) == OK


def test_evaluate_of_a_missing_file_fails(tmp_path, capsys):
    assert main(["evaluate", str(tmp_path / "none.json")]) == FAILED
    assert "none.json" in capsys.readouterr().err


# As a process


def program(*arguments: str, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "mobilepose_sdk.cli", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", **options)


def test_help_names_the_commands_and_the_exit_codes():
    done = program("--help")
    assert done.returncode == OK
    assert all(word in done.stdout for word in ("usage: mobilepose", "image", "models", "evaluate", "exit codes"))
    assert done.stderr == ""


def test_the_version_is_the_packages():
    assert program("--version").stdout == f"mobilepose {mobilepose_sdk.__version__}\n"


def test_a_missing_picture_is_no_traceback(tmp_path):
    done = program("image", str(tmp_path / "none.jpg"), "-o", str(tmp_path / "out"))
    assert done.returncode == FAILED
    assert done.stderr.startswith("mobilepose: no such file or folder")
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.name == "nt", reason="a closed pipe is another error there")
def test_a_reader_that_has_seen_enough_is_no_traceback():
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "mobilepose_sdk.cli", "models", "--json"]
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(command, cwd=ROOT, stdout=write, stderr=subprocess.PIPE, encoding="utf-8", env=buffered)
    os.close(write)
    assert done.stderr == ""


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

"""``mobilepose evaluate``, with a fake estimator behind it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from fakes import make_card
from programs import WRONG_USAGE, Standing, read_json, stand_in

from mobilepose_sdk.cli import evaluate, main
from mobilepose_sdk.cli.common import FAILED, OK
from mobilepose_sdk.errors import OutputError
from mobilepose_sdk.metrics import COCO_STATS
from mobilepose_sdk.skeleton import COCO_17

pytestmark = pytest.mark.usefixtures("asked")


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


def test_given_boxes_need_no_detector(annotations, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["evaluate", str(annotations), "--detector", "person-detector"])
    assert stopped.value.code == WRONG_USAGE
    assert "--boxes detected" in capsys.readouterr().err


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


@pytest.mark.parametrize("name", ["none/results.json", "people.json/results.json", "images", "r" * 300])
def test_results_that_could_not_be_written_are_refused_before_the_run(annotations, tmp_path, name, asked, capsys):
    before = sorted(tmp_path.rglob("*"))
    assert main(["evaluate", str(annotations), "--results", str(tmp_path / name)]) == FAILED
    assert f"cannot write {str(tmp_path / name)!r}: " in capsys.readouterr().err
    assert asked == []
    assert sorted(tmp_path.rglob("*")) == before


def test_the_figures_are_printed_before_the_results_are_written(annotations, tmp_path, monkeypatch, capsys):
    def full(path, content):
        raise OutputError("the disk is full")

    monkeypatch.setattr(evaluate, "write_json", full)
    assert main(["evaluate", str(annotations), "--results", str(tmp_path / "results.json")]) == FAILED
    printed = capsys.readouterr()
    assert printed.out.startswith("source  AP")
    assert "the disk is full" in printed.err


def test_results_are_written_even_where_the_figures_cannot_be_printed(annotations, tmp_path, monkeypatch):
    def gone(evaluation):
        raise OutputError("nobody reads")

    monkeypatch.setattr(evaluate, "_print", gone)
    assert main(["evaluate", str(annotations), "--results", str(tmp_path / "results.json")]) == FAILED
    assert len(read_json(tmp_path / "results.json")) == 2


def test_evaluate_takes_the_pictures_from_another_folder(annotations, tmp_path, capsys):
    (tmp_path / "images").rename(tmp_path / "elsewhere")
    assert main(["evaluate", str(annotations), "--images", str(tmp_path / "elsewhere")]) == OK


def test_evaluate_of_a_missing_file_fails(tmp_path, capsys):
    assert main(["evaluate", str(tmp_path / "none.json")]) == FAILED
    assert "none.json" in capsys.readouterr().err

"""Model cards and the files they vouch for, and what importing the SDK costs."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fakes import write_model

import mobilepose_sdk
from mobilepose_sdk import models
from mobilepose_sdk.errors import InvalidInputError, ModelFileError, ModelNotFoundError
from mobilepose_sdk.models import ModelCard, find_model, list_models

ROOT = Path(mobilepose_sdk.__file__).resolve().parent.parent


@pytest.fixture
def packaged(monkeypatch, tmp_path):
    """A packaged pose model ``tiny`` and a packaged detector ``finder``, in place of the real ones."""
    folder = tmp_path / "prebuilt"
    write_model(folder / "tiny", name="tiny")
    write_model(folder / "finder", kind="detector", name="finder")
    monkeypatch.setattr(models, "prebuilt_folder", lambda: folder)
    models._catalogue.cache_clear()
    yield folder
    models._catalogue.cache_clear()


def test_a_card_is_what_its_file_says(tmp_path):
    folder = write_model(tmp_path / "model", summary="für Tests", accuracy={"openvino-int8": {"AP": 0.5}})
    card = ModelCard.read(folder)
    written = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    read = json.loads(json.dumps({**dataclasses.asdict(card), "folder": None}))
    assert {name: read[name] for name in written} == written
    assert card.input_size == tuple(written["input_size"])
    assert card.folder == folder
    assert card.precisions == {"openvino": ["int8"]}


def test_a_card_is_frozen(tmp_path):
    with pytest.raises(dataclasses.FrozenInstanceError):
        ModelCard.read(write_model(tmp_path / "model")).name = "other"


def test_untouched_files_are_given_in_the_cards_order(tmp_path):
    folder = write_model(tmp_path / "model")
    files = ModelCard.read(folder).verified_files("openvino", "int8")
    assert files == [folder / "openvino/int8.xml", folder / "openvino/int8.bin"]


@pytest.mark.parametrize("name", ["openvino/int8.xml", "openvino/int8.bin"])
def test_one_altered_byte_is_noticed(tmp_path, name):
    folder = write_model(tmp_path / "model")
    content = bytearray((folder / name).read_bytes())
    content[3] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(ModelFileError, match=rf"{name}.*altered.*sha256.*reinstall"):
        ModelCard.read(folder).verified_files("openvino", "int8")


def test_a_missing_file_is_named(tmp_path):
    folder = write_model(tmp_path / "model")
    (folder / "openvino/int8.bin").unlink()
    with pytest.raises(ModelFileError, match=r"int8\.bin cannot be read"):
        ModelCard.read(folder).verified_files("openvino", "int8")


@pytest.mark.parametrize(("runtime", "precision"), [("tflite", "int8"), ("openvino", "fp32")])
def test_files_that_a_model_does_not_have_are_refused_and_those_it_has_named(tmp_path, runtime, precision):
    card = ModelCard.read(write_model(tmp_path / "model"))
    with pytest.raises(
        ModelNotFoundError, match=rf"'{precision}' files for runtime '{runtime}'.*'openvino': \['int8'\]"
    ):
        card.verified_files(runtime, precision)


BROKEN = {
    "empty": "",
    "half": '{"name": "a"',
    "no object": "[1, 2]",
    "no files": '{"name": "a"}',
    "files are a list": '{"files": []}',
    "of another version": '{"files": {}, "input_size": [1, 2], "colour": "bgr"}',
    "not text": b"\xff\xfe\x00",
    "nested without end": '{"training": ' + "[" * 100_000,
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_a_broken_card_is_named(tmp_path, content):
    path = tmp_path / "card.json"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ModelFileError, match=r"card\.json is not a model card of this version"):
        ModelCard.read(tmp_path)


FILE = {"path": "openvino/int8.xml", "bytes": 9, "sha256": "0"}
WRONG = {
    "a size of one number": ({"input_size": [96]}, r"input_size \[96\]; accepted: \[width, height\]"),
    "a size of nothing": ({"input_size": [0, 0]}, r"input_size \[0, 0\]"),
    "a size the other way round": (
        {"input_size": [128, 96]},
        r"input_size \[128, 96\].*outputs of shape .* do not fit",
    ),
    "a size of another network": (
        {"input_size": [100, 128]},
        "do not fit; accepted: outputs of shape .* width / stride",
    ),
    "colours in capitals": ({"color": "RGB"}, "color 'RGB'; accepted: 'bgr' or 'rgb'"),
    "no colours": ({"color": None}, "color None"),
    "stride 0": ({"stride": 0}, "stride 0; accepted: a whole number of at least 1"),
    "a stride in words": ({"stride": "4"}, "stride '4'"),
    "twice the stride": ({"stride": 8}, "the stride 8, which its outputs"),
    "a stride that does not divide the size": ({"stride": 3}, "the stride 3, which its outputs"),
    "padding below 0": ({"padding": -1}, "padding -1; accepted: a finite number above 0"),
    "padding 0": ({"padding": 0}, "padding 0"),
    "padding in words": ({"padding": "1.25"}, "padding '1.25'"),
    "no outputs": ({"outputs": None}, "outputs None; accepted: a list of objects"),
    "an empty output": ({"outputs": [{}]}, r"outputs\[0\] lacks name, shape"),
    "an output without heatmaps": ({"outputs": [{"name": "a", "shape": [1, 17]}]}, r"shape \[1, 17\] do not fit"),
    "no decoder": ({"decoder": None}, "decoder None; accepted: an object"),
    "a list for a skeleton": ({"skeleton": ["a"]}, r"skeleton \['a'\]; accepted: a text"),
    "a third kind": ({"kind": "hands"}, "kind 'hands'; accepted: 'pose' or 'detector'"),
    "a third approach": ({"approach": "sideways"}, "approach 'sideways'; accepted: 'top-down' or 'bottom-up'"),
    "a precision without files": ({"files": {"openvino": {"int8": []}}}, "files .*accepted: .* at least one file"),
    "a runtime without precisions": ({"files": {"openvino": [FILE]}}, "files .*accepted"),
    "a file without a size": ({"files": {"openvino": {"int8": [{"path": "a", "sha256": "0"}]}}}, "lacks bytes"),
    "a file's path a number": ({"files": {"openvino": {"int8": [{**FILE, "path": 5}]}}}, "path 5; accepted: a text"),
    "a detector that finds anything": ({"kind": "detector", "min_score": 0}, "min_score 0; accepted: .* above 0"),
}


@pytest.mark.parametrize(("changes", "message"), WRONG.values(), ids=WRONG)
def test_a_card_whose_fields_hold_something_else_is_named_and_says_what_is_accepted(tmp_path, changes, message):
    with pytest.raises(ModelFileError, match=rf"card\.json is not a model card of this version: .*{message}"):
        ModelCard.read(write_model(tmp_path / "model", **changes))


def test_what_a_card_need_not_say_has_defaults(tmp_path):
    folder = write_model(tmp_path / "model", outputs=[], files={})
    assert (ModelCard.read(folder).approach, ModelCard.read(folder).padding) == ("top-down", 1.25)


def test_a_folder_without_a_card_is_no_model(tmp_path):
    with pytest.raises(ModelFileError, match="no readable model card"):
        find_model(tmp_path, "pose")


def test_packaged_models_are_listed_and_found_by_name(packaged):
    assert [(card.name, card.kind) for card in list_models()] == [("finder", "detector"), ("tiny", "pose")]
    assert find_model("tiny", "pose").folder == packaged / "tiny"


def test_without_packaged_models_the_list_is_empty(packaged, monkeypatch, tmp_path):
    monkeypatch.setattr(models, "prebuilt_folder", lambda: tmp_path / "nowhere")
    models._catalogue.cache_clear()
    assert list_models() == []


def test_a_broken_packaged_model_leaves_the_others_alone_and_says_what_is_wrong_when_opened(packaged):
    (packaged / "broken").mkdir()
    (packaged / "broken" / "card.json").write_text('{"name": "broken"', encoding="utf-8")
    assert [card.name for card in list_models()] == ["finder", "tiny"]
    assert find_model("tiny", "pose").name == "tiny"
    with pytest.raises(ModelFileError, match=r"broken.card\.json is not a model card of this version"):
        find_model("broken", "pose")


def test_without_a_kind_models_of_any_kind_are_found(packaged):
    assert [find_model(name).name for name in ("tiny", "finder")] == ["tiny", "finder"]
    with pytest.raises(ModelNotFoundError, match="no model 'huge'; packaged: finder, tiny; or give"):
        find_model("huge")


@pytest.mark.parametrize("kind", [str, Path])
def test_a_model_folder_is_found_by_its_path(packaged, tmp_path, kind):
    assert find_model(kind(write_model(tmp_path / "own", name="own")), "pose").name == "own"


@pytest.mark.parametrize("trained", [True, False])
def test_a_path_is_a_folder_before_it_is_a_packaged_model(packaged, tmp_path, monkeypatch, trained):
    write_model(packaged / "shared", name="shared", **({} if trained else {"files": {}}))
    monkeypatch.chdir(tmp_path)
    models._catalogue.cache_clear()
    own = write_model(tmp_path / "shared", name="shared")
    assert find_model(Path("shared")).folder == find_model("./shared").folder == Path("shared")
    assert find_model("shared").folder == (packaged / "shared" if trained else Path("shared"))
    own.rename(tmp_path / "elsewhere")
    if trained:
        assert find_model(Path("shared")).folder == packaged / "shared"
    with pytest.raises(ModelNotFoundError):
        find_model("./shared")


@pytest.mark.parametrize(("kind", "there", "other"), [("pose", "tiny", "finder"), ("detector", "finder", "tiny")])
def test_an_unknown_name_lists_the_models_of_that_kind(packaged, kind, there, other):
    with pytest.raises(ModelNotFoundError) as caught:
        find_model("huge", kind)
    assert f"no {kind} model 'huge'; packaged: {there}; or give a model folder" in str(caught.value)
    assert other not in str(caught.value)


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b"], ids=["too long", "no path"])
def test_what_cannot_be_a_folders_name_is_no_model(packaged, name):
    with pytest.raises(ModelNotFoundError, match="packaged: finder, tiny"):
        find_model(name)


@pytest.mark.parametrize(("locked", "error"), [("mine", ModelNotFoundError), ("mine/card.json", ModelFileError)])
def test_a_folder_that_may_not_be_looked_into_is_a_typed_error(packaged, tmp_path, monkeypatch, locked, error):
    folder, locked, stat, read = write_model(tmp_path / "mine"), tmp_path / locked, os.stat, Path.read_text

    def refuse(path):
        if isinstance(path, (str, Path)) and Path(path).is_relative_to(locked):
            raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "stat", lambda path, *a, **options: refuse(path) or stat(path, *a, **options))
    monkeypatch.setattr(Path, "read_text", lambda path, **options: refuse(path) or read(path, **options))
    with pytest.raises(error, match="mine"):
        find_model(folder)


@pytest.mark.parametrize(("name", "kind"), [("tiny", "detector"), ("finder", "pose")])
def test_a_model_of_the_other_kind_is_refused(packaged, name, kind):
    with pytest.raises(InvalidInputError, match=f"{name} is a .*; a {kind} model is needed here"):
        find_model(name, kind)


def modules_after(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has imported after ``code``."""
    program = f"import sys\n{code}\nprint(' '.join(name.partition('.')[0] for name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_imports_no_library():
    heavy = {"numpy", "cv2", "openvino", "PIL", "json"}
    assert not heavy & (modules_after("import mobilepose_sdk") - modules_after(""))


def test_every_public_name_can_be_imported():
    for name in mobilepose_sdk.__all__:
        assert getattr(mobilepose_sdk, name) is not None
    assert set(mobilepose_sdk.__all__) == set(dir(mobilepose_sdk))
    with pytest.raises(AttributeError, match="no attribute 'PoseEstimater'"):
        mobilepose_sdk.PoseEstimater  # noqa: B018


def test_no_module_imports_what_only_the_converters_need():
    sdk = ROOT / "mobilepose_sdk"
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in sorted(sdk.rglob("*.py"))]
    loaded = modules_after("\n".join(f"import {name.removesuffix('.__init__')}" for name in names))
    assert "numpy" in loaded
    assert not {"torch", "tensorflow", "nncf", "onnx", "scipy", "pandas", "supervision", "converters"} & loaded


def test_openvino_is_loaded_with_its_first_model_only():
    assert "openvino" not in modules_after("from mobilepose_sdk import PoseEstimator, list_models\nlist_models()")

"""The ``mobilepose`` program: its usage, its end, and ``mobilepose models``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fakes import write_model
from programs import WRONG_USAGE, Standing, stand_in

import mobilepose_sdk
from mobilepose_sdk import models
from mobilepose_sdk.cli import main
from mobilepose_sdk.cli.common import FAILED, OK

ROOT = Path(mobilepose_sdk.__file__).resolve().parent.parent

pytestmark = pytest.mark.usefixtures("asked")


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
        *(["image", "a.jpg", "-o", "out", *option.split()] for option in BAD_OPTIONS),
    ],
    ids=" ".join,
)
def test_wrong_usage_has_its_own_exit_code(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == WRONG_USAGE
    assert "usage: mobilepose" in capsys.readouterr().err


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


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no disk that is always full")
def test_output_to_a_full_disk_is_no_traceback():
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "mobilepose_sdk.cli", "models"], cwd=ROOT, stdout=full, stderr=-1)
    assert (done.returncode, done.stderr.count(b"\n")) == (FAILED, 1)


@pytest.mark.skipif(sys.platform != "linux", reason="names that are no text exist there")
def test_a_name_that_is_no_text_can_be_read_from_stdin(pictures, out):
    (name,) = pictures("a.png")
    odd = os.path.join(os.fsencode(os.path.dirname(name)), b"caf\xe9 ")
    os.rename(name, odd)
    command = [sys.executable, "-m", "mobilepose_sdk.cli", "image", "-", "-o", str(out), "--detector", "none"]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    assert subprocess.run(command, cwd=ROOT, input=odd + b"\n", env=environment, stdout=-1).returncode == OK


@pytest.mark.skipif(os.name == "nt", reason="a closed pipe is another error there")
def test_a_reader_that_has_seen_enough_is_no_traceback():
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "mobilepose_sdk.cli", "models", "--json"]
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(command, cwd=ROOT, stdout=write, stderr=subprocess.PIPE, encoding="utf-8", env=buffered)
    os.close(write)
    assert done.stderr == ""


@pytest.mark.skipif(os.name == "nt", reason="there are no such signals there")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_program_that_is_told_to_end_does_so_as_on_ctrl_c(name, monkeypatch, pictures, out):
    class Ended(Standing):
        def __call__(self, picture, boxes=None):
            os.kill(os.getpid(), getattr(signal, name))
            return super().__call__(picture, boxes)

    before = signal.getsignal(getattr(signal, name))
    stand_in(monkeypatch, lambda options: Ended())
    assert main(["image", *pictures("1.png", "2.png"), "-o", str(out)]) == 130
    assert signal.getsignal(getattr(signal, name)) is before

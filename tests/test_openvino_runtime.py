"""OpenVINO as the SDK imports it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from mobilepose_sdk import PoseEstimator
from mobilepose_sdk.errors import InvalidInputError

FIRST_LOOKS = """
import sys, threading
import numpy as np
from mobilepose_sdk.runtimes.openvino import import_openvino

library = import_openvino()
from openvino import opset13 as ops

sys.setswitchinterval(1e-6)
given = ops.parameter([4], np.uint8)
compiled = library.Core().compile_model(library.Model([ops.convert(given, "f32")], [given]), "CPU")
requests = [compiled.create_infer_request() for _ in range(4)]
together = threading.Barrier(len(requests))


def look(request):
    together.wait()
    request.input_tensors[0].data[:] = 1


threads = [threading.Thread(target=look, args=(request,)) for request in requests]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("done")
"""


def test_threads_that_look_at_their_first_tensors_at_once_do_not_wait_for_each_other():
    """They would, four times of five, without the look that importing takes; a hang ends with TimeoutExpired."""
    done = subprocess.run([sys.executable, "-c", FIRST_LOOKS], capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout, done.stderr) == ("done\n", "")


FORKED = """
import os
from mobilepose_sdk import PoseEstimator
from mobilepose_sdk.errors import StateError
from mobilepose_sdk.samples import sample_picture

estimator = PoseEstimator(detector=None, mode="throughput", threads=2)
if os.fork() == 0:
    try:
        estimator(sample_picture())
    except StateError as error:
        os._exit(7 if "before this process was forked" in str(error) else 8)
    os._exit(9)
raise SystemExit(os.waitstatus_to_exitcode(os.wait()[1]) if len(estimator(sample_picture())) == 1 else 10)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_throughput_mode_says_that_it_does_not_outlive_a_fork():
    """Its streams' threads stay behind: waiting for them would never end."""
    done = subprocess.run([sys.executable, "-c", FORKED], timeout=120, check=False)
    assert done.returncode == 7


@pytest.mark.parametrize("device", [None, 3, "TPU", "AUTO:TPU", "AUTO:CPU,TPU"])
def test_a_device_that_is_not_there_is_named(device):
    with pytest.raises(InvalidInputError, match=f"no device {device!r} here; available: .*CPU"):
        PoseEstimator("lpn-50", device=device, detector=None)


ESTIMATORS_GONE = """
import signal
import numpy as np
from mobilepose_sdk import PoseEstimator

signal.signal(signal.SIGINT, signal.default_int_handler)  # who runs the tests in the background ignores it
for _ in range(2):
    PoseEstimator(threads=1)(np.zeros((64, 64, 3), np.uint8))
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_ctrl_c_is_survived_after_estimators_have_gone():
    """With a Core an estimator it was a segmentation fault."""
    done = subprocess.run([sys.executable, "-c", ESTIMATORS_GONE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\n", "")

"""OpenVINO as the SDK imports it."""

from __future__ import annotations

import subprocess
import sys

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

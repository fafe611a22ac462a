"""What importing the package costs, and what it drags in: ``python benchmarks/startup.py``."""

from __future__ import annotations

import statistics
import subprocess
import sys

HEAVY = ("numpy", "cv2", "openvino", "PIL", "torch", "tensorflow")
PROBE = f"""
import sys, time
start = time.perf_counter()
import mobilepose_sdk
seconds = time.perf_counter() - start
print(seconds, *[name for name in {HEAVY!r} if name in sys.modules])
"""


def main() -> None:
    answers = [
        subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True).stdout.split()
        for _ in range(7)
    ]
    seconds = statistics.median(float(answer[0]) for answer in answers)
    print(f"import mobilepose_sdk: {seconds * 1e3:.1f} ms (median of {len(answers)} fresh processes)")
    print(f"imported with it, of {', '.join(HEAVY)}: {', '.join(answers[0][1:]) or 'none'}")


if __name__ == "__main__":
    main()

"""People in pictures: ``python examples/images.py PICTURE...``; annotated copies go to the folder ``out``."""

import sys
from pathlib import Path

import cv2

from mobilepose_sdk import PoseEstimator

out = Path("out")
out.mkdir(exist_ok=True)
paths = sys.argv[1:] or sys.exit(__doc__)
with PoseEstimator() as estimator:
    for path, result in zip(paths, estimator.batch(paths)):
        print(path, result)
        for person in result:
            nose = dict(zip(result.skeleton.names, person.keypoints[0]))["nose"]
            print(f"  score {person.scores[0]:.2f}, nose at {nose.round(1)}")
        encoded = cv2.imencode(".jpg", result.plot(path))[1]
        (out / f"{Path(path).stem}.jpg").write_bytes(encoded.tobytes())

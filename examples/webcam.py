"""People in front of the camera, live: ``python examples/webcam.py [CAMERA OR VIDEO]``; q ends it."""

import sys

import cv2

from mobilepose_sdk import PoseEstimator

source = sys.argv[1] if len(sys.argv) > 1 else "0"
with PoseEstimator() as estimator:
    stream = estimator.stream(int(source) if source.isdecimal() else source)
    for result in stream:
        picture = result.plot(stream.frame)
        status = f"{stream.fps:.0f} FPS, {stream.latency * 1000:.0f} ms, {stream.dropped} dropped"
        cv2.putText(picture, status, (10, 25), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (0, 255, 0), 2)
        cv2.imshow("people", picture)
        if cv2.waitKey(1) == ord("q"):
            break
print(status)

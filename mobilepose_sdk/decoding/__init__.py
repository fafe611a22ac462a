"""From network outputs to keypoints: NumPy only."""

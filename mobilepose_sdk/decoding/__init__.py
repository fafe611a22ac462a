"""From network outputs to keypoints: NumPy, and scipy for grouping's assignment; no framework."""

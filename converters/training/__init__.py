"""Training: pictures, augmentation, targets, losses, schedule and the loop around them."""

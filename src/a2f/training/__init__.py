"""Training: recipe, loop, checkpoints, logs."""

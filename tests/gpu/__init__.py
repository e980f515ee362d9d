"""What needs a CUDA device; all of it is skipped where there is none."""

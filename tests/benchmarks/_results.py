"""What the benchmarks of one run have measured so far."""

ROWS, SCALING = [], []

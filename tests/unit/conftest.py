"""What holds for every unit test."""

import os

# Read when torch starts. Tiny tensors gain nothing from threads, and threads that wait for a busy core are slow.
os.environ.setdefault("OMP_NUM_THREADS", "1")

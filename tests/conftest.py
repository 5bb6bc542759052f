"""What holds for every test."""

import os

# Two workers of two threads each want four cores. Where there are two, a thread that waits spins on the core which
# the other thread needs, for minutes in all. Read when torch is loaded, so it stands before any import of it.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

"""Imported by Python itself when this folder is in ``PYTHONPATH``: see ``benchmarks/tf32.py``."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))

from benchmarks.tf32 import enter_for_good

enter_for_good()

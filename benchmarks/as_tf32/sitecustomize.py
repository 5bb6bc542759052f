"""Imported by Python itself when this folder is in ``PYTHONPATH``: see ``benchmarks/tf32.py``."""

import os
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))

from benchmarks.tf32 import TF32, enter_for_good

enter_for_good(int(os.environ.get("MANTISSA_BITS", TF32)))

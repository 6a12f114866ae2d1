"""Benchmarks: ratios against named alternatives, measured in one run; they are not tests."""

import os

# As the command line sets it, before torch is imported: idle threads of OpenMP would spin on the cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

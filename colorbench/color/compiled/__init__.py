"""Compiled (numba) versions of the color functions for a CPU, with the same results as the torch functions."""

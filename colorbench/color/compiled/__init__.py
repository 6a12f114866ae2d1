"""The fast path of color on a CPU: numba functions that give what the torch functions give."""

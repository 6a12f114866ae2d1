"""The protocols that ship: parameters, recipe and statistics around the metrics; one module or folder each."""

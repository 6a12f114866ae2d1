"""The included protocols: parameters, preprocessing and statistics around the metrics; one module or folder each."""

"""Sample size and power of a study, by simulation."""

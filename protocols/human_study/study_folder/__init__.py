"""The folder of a study: design, exported tables, and withdrawals."""

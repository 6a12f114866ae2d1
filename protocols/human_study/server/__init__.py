"""The server of a study: one process, one SQLite file."""

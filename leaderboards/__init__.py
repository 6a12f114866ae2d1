"""Leaderboards: an HTML page that compares many records."""

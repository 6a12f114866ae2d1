"""Leaderboards: many records become one page that compares them fairly."""

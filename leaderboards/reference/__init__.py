"""The included records of the reference leaderboard."""

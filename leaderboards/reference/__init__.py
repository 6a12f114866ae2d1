"""The records of the reference leaderboard, which ship."""

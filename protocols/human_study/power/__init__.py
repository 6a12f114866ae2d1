"""How many participants a study needs, by simulation."""

"""What a study's folder holds: the design, its tables and what a withdrawal leaves."""

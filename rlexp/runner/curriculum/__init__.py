"""From a run's spec and rows to its curriculum: what is measured of them, and what that gives."""

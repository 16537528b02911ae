"""How well scores rank: pairs in the right order, calibration, agreement of two rewards."""

"""The kinds of faults, one file each, and the trainings that they befall."""

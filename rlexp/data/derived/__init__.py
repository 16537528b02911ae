"""Rows of one kind from rows of another: derived, paired, split."""

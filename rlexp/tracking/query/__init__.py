"""Runs found and read, wherever they are kept."""

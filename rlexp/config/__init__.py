"""Composing configs with Hydra, stored ones, and overrides of them."""

"""Rewards: one file each, a spec that can be called with TRL's signature."""

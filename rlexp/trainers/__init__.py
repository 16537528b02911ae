"""Trainers of our own, where TRL has none: PPO with a critic, and REINFORCE."""

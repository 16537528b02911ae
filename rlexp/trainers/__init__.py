"""Trainers where TRL has none: PPO with a critic, REINFORCE; and what its GRPO and RLOO lack."""

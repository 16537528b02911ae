"""Trainers where TRL has none: PPO with a critic, and REINFORCE; and what its GRPO and RLOO lack."""

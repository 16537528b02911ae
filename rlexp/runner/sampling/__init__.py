"""Answers of the policy to many prompts: sampled once, rated, and kept as rows."""

"""Pipelines as their folders tell them: the stages, and how one came from the other."""

"""Pipelines: stages that are runs, each of which may use what an earlier one made."""

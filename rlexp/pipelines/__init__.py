"""Pipelines: stages that are runs, each of which may use what earlier ones made."""

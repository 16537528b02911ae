"""Models promoted to MLflow's registry, and found there."""

"""The spool, which outlives MLflow, and how it is sent there."""

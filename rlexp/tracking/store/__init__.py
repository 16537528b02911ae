"""Opening a tracking store, and reading it without MLflow's client."""

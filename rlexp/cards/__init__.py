"""What people see of a run: the card as numbers, on the terminal, as a page, in MLflow."""

"""lm-eval's tasks, found and read without importing it: by name among its own, or from a file."""

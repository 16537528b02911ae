"""What a run looks at in its data before anything is loaded."""

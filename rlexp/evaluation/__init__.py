"""Measures: what a policy writes, what that earns, and how sure each number is."""

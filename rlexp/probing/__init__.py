"""Probing a reward before it is trained on: what cheap strategies earn beside right answers."""

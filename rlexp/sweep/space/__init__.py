"""The search space: its syntax, its check, the grid."""

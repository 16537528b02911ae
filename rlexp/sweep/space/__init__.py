"""Search space of a sweep: its syntax, its check, its grid."""

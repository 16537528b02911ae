"""Files and records as rows in canonical columns."""

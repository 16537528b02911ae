"""The best trials run again with more seeds, and how sure their ranking is."""

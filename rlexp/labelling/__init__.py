"""People's judgements: read from exports, how far they agree and lean, and the rows they make."""

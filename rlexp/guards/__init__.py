"""What watches a run while it trains, and what a card warns of."""

"""Which training rows make up each batch: their order, their weights and the pace."""

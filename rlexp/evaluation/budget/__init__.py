"""What a card may cost beside the training that it is of."""

"""Log-probabilities and entropies of answers' tokens, without the logits of a whole batch."""

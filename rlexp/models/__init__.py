"""From a model's spec to a policy: weights, tokenizer, chat template, adapter, reference."""

"""Best-of-n of the policy before training, and where a run stands beside it."""

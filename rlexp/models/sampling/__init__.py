"""The one rollout path: completions sampled from a policy."""

"""Distillation beyond one fixed teacher: several, the policy's own average, other tokenizers."""

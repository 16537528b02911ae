"""What the algorithms share: how a TRL or an on-policy trainer is put together."""

"""Rows as a trainer gets them: rendered by a chat template, tokenized, cut; and what that loses."""

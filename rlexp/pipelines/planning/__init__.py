"""From the words of a pipeline to its stages, each checked before anything runs."""

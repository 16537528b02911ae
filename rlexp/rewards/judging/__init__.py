"""A language model as judge: requests to its endpoint, a cache of its answers, and their cost."""

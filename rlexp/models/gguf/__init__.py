"""GGUF files read into plain folders, and written from them."""

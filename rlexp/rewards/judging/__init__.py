"""Asking a language model for its opinion: requests, the answers kept, and what they cost."""

"""rlexp: experiments with language models and reinforcement learning, from one command."""

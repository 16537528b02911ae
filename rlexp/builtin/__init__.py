"""The embedded data and model: a grammar of film reviews, and a model made from it."""

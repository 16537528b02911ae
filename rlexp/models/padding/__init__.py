"""What padding does to a model: measured when it is loaded, and kept from it where it matters."""

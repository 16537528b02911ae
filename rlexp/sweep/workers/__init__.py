"""Where trials run: slots of this machine, Ray, what they find imported."""

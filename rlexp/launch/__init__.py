"""From a valid spec to one or many processes, and from a folder to the run that goes on."""

"""What was typed: parsing, the check of a command line, the exit status."""

"""What a run was made of: commit, packages, machine, files."""

"""What a whole pipeline came to: what each stage bought and cost, side by side."""

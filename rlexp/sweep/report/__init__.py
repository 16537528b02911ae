"""What a sweep found: the page, its plots, the best configs."""

"""How numbers, drawings and pages look, wherever people see them."""

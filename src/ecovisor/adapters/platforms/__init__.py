"""What runs containers. `simulated` makes up their load; `process` starts process groups and caps them."""

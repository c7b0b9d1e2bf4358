"""What is built on the narrow interface and shared by engine and client: Table 2, edge detection, budgets, forecasts. Pure."""

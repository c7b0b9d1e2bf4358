"""Pure arithmetic that engine and client share: forecasts, Table 2, notifications, budgets. No clock, socket or file."""

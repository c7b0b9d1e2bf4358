"""The equations, as scalar functions that read like the design and import nothing; `compiled` alone turns them into machine code."""

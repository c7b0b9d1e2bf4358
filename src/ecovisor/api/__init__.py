"""The REST interface: one declarative route table, and the handlers that it names. What they answer comes from a `Backend`."""

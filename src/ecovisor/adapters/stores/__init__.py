"""Where the tables of a run go."""

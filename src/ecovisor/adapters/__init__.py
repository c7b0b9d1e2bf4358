"""Everything that touches the world outside: files, signals, stores, clocks, platforms. May import `ports` and below, never `engine`."""

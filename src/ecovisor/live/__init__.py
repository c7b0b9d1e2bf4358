"""The driver of a running site: the engine on a real clock, with containers, meters and an energy plant around it."""

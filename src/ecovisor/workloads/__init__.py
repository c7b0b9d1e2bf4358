"""What applications do with power: scalar models that run in the tick loop, and the protocol for plug-ins."""

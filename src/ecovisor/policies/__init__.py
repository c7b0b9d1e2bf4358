"""Built-in policies, one file each: a scalar decision that also runs inside the tick loop, and the class that applies it."""

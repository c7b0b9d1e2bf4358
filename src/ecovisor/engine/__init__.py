"""The tick: state of all apps, the loop that settles them, and the handle through which a policy drives its own app."""

"""What no policy can beat: the least carbon that a clairvoyant could emit, by linear programming; and where there is no such bound."""

"""Contract suites for plug-ins: inherit one in your tests, give it your part, and it says whether the part keeps its promises."""

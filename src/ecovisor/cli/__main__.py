"""`python -m ecovisor.cli`: the same as the command `ecovisor`."""

from ecovisor.cli import main

main()

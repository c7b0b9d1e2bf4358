"""`python -m ecovisor` is the `ecovisor` command."""

from ecovisor.cli import main

main()

"""`python -m mixreg`."""

from mixreg.cli import main

main()

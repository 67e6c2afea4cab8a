"""`python -m autodata` is the command `autodata`."""

from autodata.cli import main

main(prog_name="autodata")

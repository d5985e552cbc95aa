"""`python -m bptrace` is the command `bptrace`."""

from bptrace.cli import main

main()

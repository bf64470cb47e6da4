"""The command as a module, as torchrun starts it: `torchrun --nproc-per-node 2 -m videossr.cli train CONFIG --out RUN`."""

from videossr.cli import main

main()

"""The command as a module, as torchrun starts it: `torchrun --nproc-per-node 8 -m videossr.cli train …`."""

from videossr.cli import main

main()

"""The command as a module, as torchrun starts it: `torchrun --nproc-per-node 2 -m videossr.cli train CONFIG …`."""

from videossr.cli import main

if __name__ == "__main__":
    main()

"""Classes that verl finds by name while it trains on a dataset of ours: a dataset, an agent loop, and versions.

`videossr export verl` writes the rows and the command that name them. `dataset` and `agent_loop` import verl, so they
can be imported only where it is installed; the other modules need nothing of it.
"""

"""Train on a dataset of ours with TRL's GRPO trainer: rows, rewards, and the trainer that shows a model the videos.

`examples/trl/train.py` puts them together. `trainer` imports TRL and `dataset` imports datasets, so they can be
imported only where these are installed; `rewards` needs nothing.
"""

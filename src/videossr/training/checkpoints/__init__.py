"""The checkpoints of a training run, and the model files in them that transformers and vLLM load."""

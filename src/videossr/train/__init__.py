"""Training on one machine: GRPO whose groups share their prompt, and supervised warm-up. docs/training.md tells it."""

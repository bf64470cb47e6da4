"""Training on one machine: GRPO whose groups share their prompt, and supervised warm-up. docs/how-to/training.md tells it."""

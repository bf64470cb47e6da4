"""Training: GRPO whose groups share their prompt, and a supervised start. See docs/how-to/training.md."""

"""Training: from recorded episodes to a packed model. See docs/training.md."""

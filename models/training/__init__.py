"""Training of the reference models: one file a model, and what they share (text, splits, the loop, the card)."""

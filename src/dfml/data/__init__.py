"""Real images: sources, class splits and fixed episodes."""

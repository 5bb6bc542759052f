"""Real images: sources, class splits, fixed episodes and augmentation."""

"""Where real images come from: each source returns uint8 arrays ``[n, 3, side, side]`` by class name."""

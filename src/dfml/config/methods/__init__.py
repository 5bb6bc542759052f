"""One file per family of methods, so that a changed section concerns its own methods alone."""

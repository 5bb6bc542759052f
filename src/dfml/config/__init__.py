"""The configuration as a whole: the sections of all rooms composed, checked, explained. Imports no torch."""

"""Errors that a user can act on: the message names the key or file and the remedy."""


class DfmlError(Exception):
    """Base class; shown to users as one line without a traceback."""


class ConfigError(DfmlError):
    """The configuration is wrong."""


class DataError(DfmlError):
    """Images or class splits are missing, damaged or too few."""


class FileFormatError(DfmlError):
    """A file of ours is missing, truncated, foreign or of another version."""

"""Format names and versions that the writer and the reader of an artefact share."""

RECORD_FORMAT = "dfml.record"
RECORD_VERSION = 3

INVERSION_FORMAT = "dfml.inversion"
INVERSION_VERSION = 1

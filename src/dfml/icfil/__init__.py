"""ICFIL, PURER's supplement at meta-test (docs/methods/purer.md): off by default, for it multiplies evaluation."""

FORMAT, VERSION = "dfml.icfil", 1

"""Plain code for the same work, as it is usually written: one thing at a time, torch as it comes.

It follows what docs/method.md says of the published loop, and shares nothing with dfml but the inputs it is given.
"""

"""The command `dfml`: look after data, zoos and results of experiments, and use the learners that they make."""

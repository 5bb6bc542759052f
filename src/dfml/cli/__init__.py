"""The command `dfml`: keep, bring back, check and publish the results of an experiment."""

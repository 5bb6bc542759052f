"""The methods: pool in, learner out. One file per method; `catalogue` knows them all without importing them."""

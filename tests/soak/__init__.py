"""The long form of the acceptance tests: `make soak`."""

"""edgekit beside its peers: an environment for each, fresh processes taking turns, one table (docs/benchmarks.md)."""

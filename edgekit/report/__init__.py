"""One page about a bundle that people look at before it ships: ``edgekit report``."""

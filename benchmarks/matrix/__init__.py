"""The architecture matrix: which architectures export and answer like torch, proved on tiny random models."""

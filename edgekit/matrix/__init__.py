"""Many builds at once: models, targets and recipes, on this machine or on a cluster, nothing computed twice."""

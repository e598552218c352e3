"""What a container image of a bundle is built from (docs/deployment.md). No container engine is needed to write it."""

"""The bundle format on disk. Standard library only."""

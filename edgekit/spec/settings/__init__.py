"""The settings sections of a manifest: one file per family of tasks."""

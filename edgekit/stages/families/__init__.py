"""The references: how to ask and export the original, one file for each family of tasks."""

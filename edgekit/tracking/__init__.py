"""Logging builds to an MLflow server, so that they can be compared and the best one chosen."""

"""The build side: one verb per file, each a function from frozen data to frozen data."""

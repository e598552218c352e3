"""Is a new bundle as good as the one before it? What ``edgekit check`` asks, measures and decides."""

"""The device's store: installed bundles side by side, one of each name active. Standard library only."""

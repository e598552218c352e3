"""An HTTP service in front of bundles: typed routes, limits, batches, streams, metrics, logs (docs/serve.md)."""

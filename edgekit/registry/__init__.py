"""Bundles in OCI registries: push and pull. Needs ``httpx2``, the extra ``edgekit[oci]``."""

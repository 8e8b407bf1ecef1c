"""Roots in every namespace: ConfigMaps, a ClusterTrustBundle, and what replicas remember together."""

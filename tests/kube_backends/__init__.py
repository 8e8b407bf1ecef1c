"""The backends that sign by way of Kubernetes objects, against a real API server and real controllers."""

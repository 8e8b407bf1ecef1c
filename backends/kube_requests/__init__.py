"""Certificates by way of Kubernetes objects: created here, signed by a controller, followed by one watch, swept up."""

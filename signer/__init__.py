"""istio-signer: an external certificate authority for the Istio service mesh."""

__version__ = "0.1.0"

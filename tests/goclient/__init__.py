"""A Go gRPC client on the stack of the Istio agent: one CSR as a real client sends it, or a load of them."""

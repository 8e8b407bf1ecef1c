"""Everything real: the signer as a process, a Kubernetes API server, the Istio agent's Go stack, Envoys."""

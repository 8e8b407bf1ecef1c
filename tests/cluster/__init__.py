"""A real Kubernetes control plane for tests: etcd, kube-apiserver and cert-manager's controllers in one local process.

There are no nodes. A pod is an object that nothing runs, yet its tokens, its deletion and all permissions are real.
Start with `fixtures` in tests and with `python -m tests.cluster --help` in a shell.
"""

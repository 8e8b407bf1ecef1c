"""A client of the signer, as a proxy is one: for `request`, for the demo, for trying things by hand."""

import os

# Read by gRPC's core when it is first imported, which is why it stands here: a failed handshake is told once, by us,
# and not in the core's own lines as well. Whoever wants those sets the variable.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

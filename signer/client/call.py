"""Sends one CSR over Istio's gRPC API."""

from dataclasses import dataclass
from pathlib import Path

import grpc
from google.protobuf.struct_pb2 import Struct

from signer._pb.security.v1alpha1.ca_pb2 import IstioCertificateRequest, IstioCertificateResponse
from signer.core.types import Secret

PATH = "/istio.v1.auth.IstioCertificateService/CreateCertificate"


class CallFailed(Exception):
    """The server answered with an error status.

    Attributes:
        code: The name of the gRPC status code.
        retryable: Whether the same call may work later.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.retryable = code in RETRYABLE


# Those that the Istio agent tries again (istio: security/pkg/nodeagent/caclient, retry interceptor).
RETRYABLE = frozenset({"CANCELLED", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED", "INTERNAL", "UNAVAILABLE"})


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the signer is and how to recognise it.

    Attributes:
        address: ``host:port``.
        roots_file: PEM roots of its serving certificate.
        server_name: The name to expect instead of the address's host; empty for none.
    """

    address: str
    roots_file: Path
    server_name: str = ""


@dataclass(frozen=True, slots=True)
class CertificateCall:
    """What to ask for.

    Attributes:
        csr: PEM.
        token: The bearer token; None sends none.
        ttl: Seconds; 0 leaves it to the server.
        timeout: Seconds.
    """

    csr: str
    token: Secret | None
    ttl: int = 0
    cluster: str = ""
    cert_signer: str = ""
    impersonate: str = ""
    timeout: float = 15.0


def create_certificate(endpoint: Endpoint, call: CertificateCall) -> list[str]:
    """Ask for a certificate.

    Returns:
        ``cert_chain``: leaf, intermediates, all roots as the last element.

    Raises:
        CallFailed: Any answer but a chain.
        OSError: The roots file cannot be read.
    """
    credentials = grpc.ssl_channel_credentials(endpoint.roots_file.read_bytes())
    options = [("grpc.ssl_target_name_override", endpoint.server_name)] if endpoint.server_name else []
    with grpc.secure_channel(endpoint.address, credentials, options=options) as channel:
        method = channel.unary_unary(
            PATH,
            request_serializer=IstioCertificateRequest.SerializeToString,
            response_deserializer=IstioCertificateResponse.FromString,
        )
        try:
            answer = method(_request(call), metadata=_metadata(call), timeout=call.timeout)
        except grpc.RpcError as error:
            raise CallFailed(error.code().name, error.details() or "") from None
    return list(answer.cert_chain)


def _request(call: CertificateCall) -> IstioCertificateRequest:
    hints = Struct()
    if call.cert_signer:
        hints["CertSigner"] = call.cert_signer
    if call.impersonate:
        hints["ImpersonatedIdentity"] = call.impersonate
    return IstioCertificateRequest(csr=call.csr, validity_duration=call.ttl, metadata=hints)


def _metadata(call: CertificateCall) -> list[tuple[str, str]]:
    metadata = [("authorization", f"Bearer {call.token.reveal()}")] if call.token else []
    return [*metadata, ("clusterid", call.cluster)] if call.cluster else metadata

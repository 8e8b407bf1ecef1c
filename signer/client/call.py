"""Sends one CSR over Istio's gRPC API."""

from dataclasses import dataclass
from pathlib import Path

import grpc
from cryptography import x509
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


class BadRoots(Exception):
    """The roots file cannot be used; the message says why."""


class ServerNotTrusted(CallFailed):
    """The server's TLS certificate was not accepted; trying again changes nothing. The message says what to do."""

    def __init__(self, text: str) -> None:
        super().__init__("UNAVAILABLE", text)
        self.args = (text,)
        self.retryable = False


# What gRPC's core says where TLS failed, and not the way to the server -> what to do. Matched as text, since the status
# is UNAVAILABLE for both; an unknown text stays what it was, "try again".
_UNTRUSTED = {
    "CERTIFICATE_VERIFY_FAILED": "its certificate does not lead to a root in the roots file, or has ended",
    "Hostname Verification Check failed": "its certificate is for other names than the one expected",
    "is not in peer certificate": "its certificate is for other names than the one expected",
    "WRONG_VERSION_NUMBER": "it speaks no TLS; is this the port for proxies?",
}


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

    def roots(self) -> bytes:
        """Read the roots; the core would call a file without any an unavailable server.

        Raises:
            BadRoots: It cannot be read, or holds no certificate.
        """
        try:
            data = self.roots_file.read_bytes()
            x509.load_pem_x509_certificates(data)
        except OSError as error:
            raise BadRoots(f"cannot be read: {error.strerror}") from None
        except ValueError:
            raise BadRoots("holds no PEM certificates; give the roots of the signer's serving certificate") from None
        return data


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
        BadRoots: The roots file cannot be used.
    """
    credentials = grpc.ssl_channel_credentials(endpoint.roots())
    # A proxy of the environment is for the web; the signer is called directly, as by a proxy of the mesh.
    options: list[tuple[str, str | int]] = [("grpc.enable_http_proxy", 0)]
    if endpoint.server_name:
        options.append(("grpc.ssl_target_name_override", endpoint.server_name))
    with grpc.secure_channel(endpoint.address, credentials, options=options) as channel:
        method = channel.unary_unary(
            PATH,
            request_serializer=IstioCertificateRequest.SerializeToString,
            response_deserializer=IstioCertificateResponse.FromString,
        )
        try:
            answer = method(_request(call), metadata=_metadata(call), timeout=call.timeout)
        except grpc.RpcError as error:
            raise _failure(error.code().name, error.details() or "") from None
    return list(answer.cert_chain)


def _failure(code: str, details: str) -> CallFailed:
    advice = next((advice for sign, advice in _UNTRUSTED.items() if sign in details), None)
    return ServerNotTrusted(f"{advice} ({details})") if advice and code == "UNAVAILABLE" else CallFailed(code, details)


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

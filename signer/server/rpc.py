"""One gRPC call into one IssueRequest, and its outcome back into a status: nothing else is decided here."""

import asyncio
import gc
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import grpc
from google.protobuf.message import DecodeError
from google.protobuf.struct_pb2 import Value

from signer._pb.security.v1alpha1.ca_pb2 import IstioCertificateRequest, IstioCertificateResponse
from signer.core.errors import CsrMalformed, Meaning, meaning
from signer.core.types import Credentials, Secret
from signer.issue.pipeline import Pipeline
from signer.issue.request import IssueRequest

SERVICE = "istio.v1.auth.IstioCertificateService"
METHOD = "CreateCertificate"
_BEARER = "Bearer "
# Longer texts in the hints cannot be identities or signer names; they are cut, and then match nothing.
_MAX_HINT = 2100
_END = b"-----END CERTIFICATE-----\n"


@dataclass(frozen=True, slots=True)
class CallLimits:
    """Time limits of one call, in seconds.

    Attributes:
        deadline: The server's own, since no Istio client sets one.
        reserve: Kept back for sending the answer.
    """

    deadline: float = 8.0
    reserve: float = 0.25

    def budget(self, remaining: float | None) -> float:
        """Seconds to work with, given what is left of the client's own deadline (None: it set none)."""
        allowed = self.deadline if remaining is None else min(self.deadline, remaining)
        return max(0.0, allowed - self.reserve)


class CertificateService:
    """Serves ``IstioCertificateService``.

    Messages come and go as bytes: a parser's error inside the library would end as UNKNOWN, unaudited. The message is
    read here, against the deadline: the library would wait for it for ever.
    """

    def __init__(self, pipeline: Pipeline, limits: CallLimits) -> None:
        self._pipeline = pipeline
        self._limits = limits
        self._ballast = Ballast()

    async def create_certificate(self, _: object, context: grpc.aio.ServicerContext) -> bytes:
        """Answer one ``CreateCertificate``; a refusal is a status with a constant text and the request's id."""
        head = call_head(context, self._limits.budget(context.time_remaining()))
        start = time.monotonic()
        try:
            raw = await _first_message(context, head.budget)
            self._ballast.add(len(raw) + head.weight)
            call = head.with_message(IstioCertificateRequest.FromString(raw), head.budget - (time.monotonic() - start))
            chain = await self._pipeline.issue(call)
            return IstioCertificateResponse(cert_chain=chain).SerializeToString()
        except DecodeError:
            told = self._pipeline.refuse(head.request, CsrMalformed("the message is no IstioCertificateRequest"))
        except NoMessage as error:
            told = self._pipeline.refuse(head.request, CsrMalformed(str(error)))
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001  whatever it is, the caller gets a code from the table
            told = meaning(error)
        # Not set_code: that sends an empty message before the status, and a client may take it for an answer.
        await context.abort(status_code(told), f"{told.public} (request {head.request.id})")
        raise AssertionError("unreachable: abort raises")

    def handler(self) -> grpc.GenericRpcHandler:
        """The method table for a server. One message in, read by ourselves: to the library a stream of requests."""
        method = grpc.stream_unary_rpc_method_handler(self.create_certificate)
        return grpc.method_handlers_generic_handler(SERVICE, {METHOD: method})


class NoMessage(Exception):
    """The call brought no message in time."""


async def _first_message(context: grpc.aio.ServicerContext, budget: float) -> bytes:
    try:
        async with asyncio.timeout(budget):
            message = await context.read()
    except TimeoutError:
        raise NoMessage(f"no message came within {budget:.1f} s") from None
    if not isinstance(message, bytes):
        raise NoMessage("the call carries no message, or one of over 1 MiB")
    return message


class Ballast:
    """Has the garbage collector look once enough bytes have passed.

    The library leaves every finished call in a reference cycle, message and metadata included. Calls of the usual
    size weigh nothing; calls of a megabyte must not gather until the collector comes by the number of objects.
    """

    LIMIT = 16 * 1024 * 1024

    def __init__(self) -> None:
        self._carried = 0

    def add(self, size: int) -> None:
        """Count the bytes of one call."""
        self._carried += size
        if self._carried > self.LIMIT:
            self._carried = 0
            gc.collect()


def status_code(told: Meaning) -> grpc.StatusCode:
    """The library's twin of a code of ours."""
    return grpc.StatusCode[told.code.value]


@dataclass(frozen=True, slots=True)
class CallHead:
    """What is known of a call before its message.

    Attributes:
        request: An IssueRequest without a CSR.
        budget: Seconds to work with.
        weight: Characters of its metadata.
    """

    request: IssueRequest
    budget: float
    weight: int

    def with_message(self, message: IstioCertificateRequest, budget: float) -> IssueRequest:
        """Add the message, and what is left of the time."""
        hints = message.metadata.fields if message.HasField("metadata") else {}
        return replace(
            self.request,
            csr=message.csr,
            ttl=message.validity_duration,
            budget=budget,
            credentials=replace(self.request.credentials, signer_name=hint(hints, "CertSigner")),
            impersonated=hint(hints, "ImpersonatedIdentity"),
        )


def call_head(context: grpc.aio.ServicerContext, budget: float) -> CallHead:
    """Take a call apart as far as it is there; nothing in it is believed."""
    metadata = context.invocation_metadata() or ()
    request = IssueRequest(
        id=secrets.token_hex(8),
        csr="",
        ttl=0,
        credentials=Credentials(bearer_of(metadata), cluster_of(metadata), chain_of(context.auth_context())),
        budget=budget,
        peer=context.peer(),
    )
    return CallHead(request, budget, sum(len(value) for _, value in metadata))


def bearer_of(metadata: Iterable[tuple[str, str | bytes]]) -> Secret | None:
    """The first ``authorization`` value with the exact prefix (istio: pkg/security/security.go, ExtractBearerToken)."""
    for key, value in metadata:
        if key == "authorization" and isinstance(value, str) and value.startswith(_BEARER):
            return Secret(value[len(_BEARER) :])
    return None


def cluster_of(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    """The ``clusterid``; several values count as none (istio: kubeauth/kube_jwt.go)."""
    values = [v for k, v in metadata if k == "clusterid" and isinstance(v, str)]
    return values[0][:_MAX_HINT] if len(values) == 1 else ""


def chain_of(peer: Mapping[str, Iterable[bytes]]) -> tuple[bytes, ...]:
    """The PEM certificates that the connection's client showed, leaf first; empty where it was not asked for any.

    On a server ``x509_pem_cert_chain`` lacks the leaf, since BoringSSL's list of the peer's certificates does there
    (grpc: src/core/tsi/ssl_transport_security.cc; boringssl: SSL_get_peer_cert_chain); a list that has it counts too.
    """
    if "x509_pem_cert" not in peer or b"ssl" not in peer.get("transport_security_type", ()):
        return ()
    leaf = b"".join(peer["x509_pem_cert"])
    text = b"".join(peer.get("x509_pem_cert_chain", ()))
    # What has no end of its own gets one, so that it is there for the parser to refuse.
    others = tuple(part + _END for part in text.split(_END) if part)
    return (leaf, *(others[1:] if others[:1] == (leaf,) else others))


def hint(hints: Mapping[str, Value], key: str) -> str:
    """A text of the request's metadata; any other type counts as absent."""
    if key not in hints:
        return ""
    value = hints[key]
    return value.string_value[:_MAX_HINT] if value.WhichOneof("kind") == "string_value" else ""

"""One gRPC call into one IssueRequest, and its outcome back into a status: nothing else is decided here."""

import logging
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import grpc
from google.protobuf.struct_pb2 import Value

from signer._pb.security.v1alpha1.ca_pb2 import IstioCertificateRequest, IstioCertificateResponse
from signer.core.errors import Meaning, meaning
from signer.core.types import Credentials, Secret
from signer.issue.pipeline import IssueRequest, Pipeline

_log = logging.getLogger("istio_signer.rpc")

SERVICE = "istio.v1.auth.IstioCertificateService"
METHOD = "CreateCertificate"
_BEARER = "Bearer "
# Longer texts in the hints cannot be identities or signer names; they are cut, and then match nothing.
_MAX_HINT = 2100


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
    """Serves ``IstioCertificateService``."""

    def __init__(self, pipeline: Pipeline, limits: CallLimits) -> None:
        self._pipeline = pipeline
        self._limits = limits

    async def create_certificate(
        self, request: IstioCertificateRequest, context: grpc.aio.ServicerContext
    ) -> IstioCertificateResponse:
        """Answer one ``CreateCertificate``; a refusal is a status with a constant text and the request's id."""
        call = issue_request(request, context, self._limits.budget(context.time_remaining()))
        try:
            chain = await self._pipeline.issue(call)
        except Exception as error:  # noqa: BLE001  whatever it is, the caller gets a code from the table
            told = meaning(error)
        else:
            return IstioCertificateResponse(cert_chain=chain)
        await context.abort(status_code(told), f"{told.public} (request {call.id})")
        raise AssertionError("unreachable: abort raises")

    def handler(self) -> grpc.GenericRpcHandler:
        """The method table for a server."""
        method = grpc.unary_unary_rpc_method_handler(
            self.create_certificate,
            request_deserializer=IstioCertificateRequest.FromString,
            response_serializer=IstioCertificateResponse.SerializeToString,
        )
        return grpc.method_handlers_generic_handler(SERVICE, {METHOD: method})


def status_code(told: Meaning) -> grpc.StatusCode:
    """The library's twin of a code of ours."""
    return grpc.StatusCode[told.code.value]


def issue_request(request: IstioCertificateRequest, context: grpc.aio.ServicerContext, budget: float) -> IssueRequest:
    """Take a call apart; nothing in it is believed."""
    metadata = context.invocation_metadata() or ()
    hints = request.metadata.fields if request.HasField("metadata") else {}
    return IssueRequest(
        id=secrets.token_hex(8),
        csr=request.csr,
        ttl=request.validity_duration,
        credentials=Credentials(bearer_of(metadata), cluster_of(metadata)),
        budget=budget,
        signer_name=hint(hints, "CertSigner"),
        impersonated=hint(hints, "ImpersonatedIdentity"),
        peer=context.peer(),
    )


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


def hint(hints: Mapping[str, Value], key: str) -> str:
    """A text of the request's metadata; any other type counts as absent."""
    if key not in hints:
        return ""
    value = hints[key]
    return value.string_value[:_MAX_HINT] if value.WhichOneof("kind") == "string_value" else ""

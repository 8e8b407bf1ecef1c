"""Envoy's configuration for either end of the connection, as plain dictionaries."""

from typing import Any

from tests.mesh.sds import ROOTS, TLS, SecretFolder

Json = dict[str, Any]

LISTENER = "mesh"
CLUSTER = "peer"
REQUEST_TIMEOUT_S = 5

_EXTENSIONS = "type.googleapis.com/envoy.extensions"
_SOCKETS = f"{_EXTENSIONS}.transport_sockets.tls.v3"
_HCM = f"{_EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager"
_ROUTER = f"{_EXTENSIONS}.filters.http.router.v3.Router"
_HTTP_OPTIONS = f"{_EXTENSIONS}.upstreams.http.v3.HttpProtocolOptions"

SEEN_BY_SERVER = {
    "x-client-id": "%DOWNSTREAM_PEER_URI_SAN%",
    "x-client-serial": "%DOWNSTREAM_PEER_SERIAL%",
    "x-client-xfcc": "%REQ(X-FORWARDED-CLIENT-CERT)%",
    "x-tls-version": "%DOWNSTREAM_TLS_VERSION%",
}
SEEN_BY_CLIENT = {"x-server-id": "%UPSTREAM_PEER_URI_SAN%"}
"""Response headers that tell a test what each end has verified, and the Envoy formatter that fills them."""


def server(secrets: SecretFolder, accepts: str) -> Json:
    """An Envoy that answers by itself over mutual TLS, to a client of the accepted SPIFFE ID only."""
    context = {
        "@type": f"{_SOCKETS}.DownstreamTlsContext",
        "require_client_certificate": True,
        # A resumed session would prove nothing about the certificate that was rotated in since.
        "disable_stateless_session_resumption": True,
        "disable_stateful_session_resumption": True,
        "common_tls_context": _tls(secrets, accepts),
    }
    answer = {"direct_response": {"status": 200, "body": {"inline_string": "served over mutual TLS\n"}}}
    manager = _manager(answer, SEEN_BY_SERVER) | {
        "forward_client_cert_details": "SANITIZE_SET",
        "set_current_client_cert_details": {"uri": True},
    }
    return _bootstrap(_listener(manager, context))


def client(secrets: SecretFolder, accepts: str, server_port: int) -> Json:
    """An Envoy that takes plain HTTP and sends it on over mutual TLS, to a server of the accepted SPIFFE ID only."""
    context = {
        "@type": f"{_SOCKETS}.UpstreamTlsContext",
        "max_session_keys": 0,
        "common_tls_context": _tls(secrets, accepts),
    }
    route = {"route": {"cluster": CLUSTER, "timeout": f"{REQUEST_TIMEOUT_S}s"}}
    return _bootstrap(_listener(_manager(route, SEEN_BY_CLIENT)), _cluster(context, server_port))


def _tls(secrets: SecretFolder, accepts: str) -> Json:
    """Build it as istiod does: secrets by SDS, the peer's name checked beside the roots."""
    return {
        "tls_certificate_sds_secret_configs": [secrets.source(TLS)],
        "combined_validation_context": {
            "default_validation_context": {
                "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": {"exact": accepts}}]
            },
            "validation_context_sds_secret_config": secrets.source(ROOTS),
        },
    }


def _bootstrap(listener: Json, *clusters: Json) -> Json:
    return {
        # Envoy insists on these two for any SDS, though files have no use for them.
        "node": {"id": LISTENER, "cluster": LISTENER},
        "admin": {"address": _loopback(0)},
        "static_resources": {"listeners": [listener], "clusters": list(clusters)},
    }


def _loopback(port: int) -> Json:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _listener(manager: Json, context: Json | None = None) -> Json:
    chain: Json = {"filters": [{"name": "http", "typed_config": manager}]}
    if context is not None:
        chain["transport_socket"] = {"name": "tls", "typed_config": context}
    return {"name": LISTENER, "stat_prefix": LISTENER, "address": _loopback(0), "filter_chains": [chain]}


def _manager(action: Json, shown: dict[str, str]) -> Json:
    headers = [{"header": {"key": key, "value": value}} for key, value in shown.items()]
    route = {"match": {"prefix": "/"}, "response_headers_to_add": headers, **action}
    return {
        "@type": _HCM,
        "stat_prefix": LISTENER,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [{"name": "router", "typed_config": {"@type": _ROUTER}}],
    }


def _cluster(context: Json, port: int) -> Json:
    # One request a connection: every request is then a full handshake with the certificates of that moment.
    options = {
        "@type": _HTTP_OPTIONS,
        "common_http_protocol_options": {"max_requests_per_connection": 1},
        "explicit_http_config": {"http_protocol_options": {}},
    }
    endpoint = {"endpoint": {"address": _loopback(port)}}
    return {
        "name": CLUSTER,
        "type": "STATIC",
        "connect_timeout": f"{REQUEST_TIMEOUT_S}s",
        "load_assignment": {"cluster_name": CLUSTER, "endpoints": [{"lb_endpoints": [endpoint]}]},
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options},
        "transport_socket": {"name": "tls", "typed_config": context},
    }

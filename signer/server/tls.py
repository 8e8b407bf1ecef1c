"""TLS for the gRPC listeners: the pair in use is looked up at each handshake."""

import grpc

from signer.trust.serving import KeyPair, ServingCertificate


def credentials(serving: ServingCertificate, first: KeyPair) -> grpc.ServerCredentials:
    """Credentials that follow the serving certificate, without a restart and without a failed handshake.

    Client certificates are not asked for: gRPC cannot ask without requiring, and proxies with a token have none.
    """
    return grpc.dynamic_ssl_server_credentials(
        _configuration(first), _Follow(serving, first), require_client_authentication=False
    )


def _configuration(pair: KeyPair) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(pair.key_pem, pair.chain_pem)])


class _Follow:
    """Called by the library's threads at every handshake; answers None while nothing has changed."""

    def __init__(self, serving: ServingCertificate, first: KeyPair) -> None:
        self._serving = serving
        self._shown = first

    def __call__(self) -> grpc.ServerCertificateConfiguration | None:
        pair = self._serving.pair
        if pair is None or pair is self._shown:
            return None
        self._shown = pair
        return _configuration(pair)

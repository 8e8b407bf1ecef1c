"""TLS for the gRPC listeners: the pair in use, and the roots of clients, are looked up at each handshake."""

from collections.abc import Callable

import grpc

from signer.trust.serving import KeyPair, ServingCertificate


def credentials(serving: ServingCertificate, first: KeyPair) -> grpc.ServerCredentials:
    """Credentials that follow the serving certificate, without a restart and without a failed handshake.

    Client certificates are not asked for: gRPC cannot ask without requiring, and proxies with a token have none.
    """
    follow = _Follow(serving, first, lambda: None)
    return grpc.dynamic_ssl_server_credentials(follow.shown(), follow, require_client_authentication=False)


def client_credentials(
    serving: ServingCertificate, first: KeyPair, roots: Callable[[], bytes]
) -> grpc.ServerCredentials:
    """Credentials for the port on which every client must show a certificate of the mesh.

    A connection keeps what it was made with, so each call is judged again by ``signer.authn.client_cert``. A change of
    the pair or the roots also ends the resumption of sessions: the library has ticket keys per configuration.

    Args:
        serving: The signer's own certificate, followed as in ``credentials``.
        first: The pair to start with.
        roots: Gives the PEM of the roots in force; called on the library's threads, at every handshake. While it
            gives none, every handshake fails.
    """
    follow = _Follow(serving, first, roots)
    return grpc.dynamic_ssl_server_credentials(follow.shown(), follow, require_client_authentication=True)


class _Follow:
    """Called by the library's threads at every handshake; answers None while nothing has changed."""

    def __init__(self, serving: ServingCertificate, first: KeyPair, roots: Callable[[], bytes | None]) -> None:
        self._serving = serving
        self._roots = roots
        self._pair = first
        self._trusted = roots()

    def shown(self) -> grpc.ServerCertificateConfiguration:
        """The configuration as of the last look."""
        return grpc.ssl_server_certificate_configuration([(self._pair.key_pem, self._pair.chain_pem)], self._trusted)

    def __call__(self) -> grpc.ServerCertificateConfiguration | None:
        pair, trusted = self._serving.pair or self._pair, self._roots()
        if pair is self._pair and trusted == self._trusted:
            return None
        self._pair, self._trusted = pair, trusted
        return self.shown()

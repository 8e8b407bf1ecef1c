"""A real mutual-TLS handshake between two workloads' files, on loopback, with the system's TLS library."""

import socket
import ssl
import threading
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from signer.cli.common import Failure

_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What each side saw of the other: its URI name."""

    client: str
    server: str
    cipher: str


def _context(purpose: int, directory: Path) -> ssl.SSLContext:
    """Both sides demand a certificate; names are compared by SPIFFE ID, not by host."""
    context = ssl.SSLContext(purpose)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(directory / "root-cert.pem")
    context.load_cert_chain(directory / "cert-chain.pem", directory / "key.pem")
    return context


def _uri(connection: ssl.SSLSocket) -> str:
    """The peer's URI names, from its verified certificate."""
    der = connection.getpeercert(binary_form=True)
    if der is None:
        return ""
    names = x509.load_der_x509_certificate(der).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return ", ".join(names.get_values_for_type(x509.UniformResourceIdentifier))


def handshake(client: Path, server: Path) -> Seen:
    """Shake hands and exchange a byte each way, so that both sides have surely verified.

    Args:
        client: A directory with key.pem, cert-chain.pem and root-cert.pem.
        server: Likewise.

    Raises:
        Failure: TLS failed.
    """
    seen_by_server: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(_SECONDS)
        thread = threading.Thread(target=_serve, args=(listening, server, seen_by_server), daemon=True)
        thread.start()
        try:
            with socket.create_connection(listening.getsockname(), _SECONDS) as plain:
                return _connect(plain, client, seen_by_server)
        except (OSError, ssl.SSLError) as error:
            raise Failure(f"mutual TLS failed: {error}") from None
        finally:
            thread.join(_SECONDS)


def _connect(plain: socket.socket, directory: Path, seen_by_server: list[str]) -> Seen:
    with _context(ssl.PROTOCOL_TLS_CLIENT, directory).wrap_socket(plain) as secured:
        secured.sendall(b"?")
        if secured.recv(1) != b"!":
            raise OSError("the server closed the connection")
        cipher = secured.cipher()
        return Seen(seen_by_server[0], _uri(secured), f"{secured.version()}, {cipher[0] if cipher else ''}")


def _serve(listening: socket.socket, directory: Path, seen: list[str]) -> None:
    try:
        plain, _ = listening.accept()
        with plain, _context(ssl.PROTOCOL_TLS_SERVER, directory).wrap_socket(plain, server_side=True) as secured:
            seen.append(_uri(secured))
            secured.recv(1)
            secured.sendall(b"!")
    except (OSError, ssl.SSLError):
        # The client's side of the same failure is the one that is told.
        return

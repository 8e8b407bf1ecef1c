"""TLS towards Vault: the files that it is made of, and what is told of its faults."""

import ssl

from backends.vault.settings import VaultSettings
from signer.core.errors import BackendUnavailable


def tls_context(settings: VaultSettings) -> ssl.SSLContext:
    """Make what verifies Vault's certificate, and what shows ours where the login is by certificate.

    Raises:
        BackendUnavailable: A file cannot be read, or holds something else.
    """
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
        if settings.auth.certificate_file is not None:
            context.load_cert_chain(settings.auth.certificate_file, settings.auth.key_file)
    except (OSError, ssl.SSLError) as error:
        raise BackendUnavailable(f"ca_file or client certificate: {reason_of(error)}") from None
    return context


def reason_of(error: Exception) -> str:
    """The class, and the system's own words where there are some: never a URL or a header."""
    cause = getattr(error, "os_error", error)
    words = getattr(cause, "strerror", None) or getattr(cause, "reason", None) or ""
    return f"{type(error).__name__}{f', {words}' if isinstance(words, str) and words else ''}"[:200]

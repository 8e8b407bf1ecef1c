"""Probes on a connection on which nothing may happen for minutes: a host that is gone says so to nobody.

Sources: RFC 9293 section 3.8.4; tcp(7), TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT. They find a host or a network that is
gone, not a process that hangs: for that, bookmarks are missed.
"""

import socket

import aiohttp

IDLE_SECONDS = 10
PROBE_SECONDS = 5
PROBES = 3


def keep_alive(response: aiohttp.ClientResponse) -> None:
    """Have the kernel ask whether the other side is there, which breaks a dead connection after about 25 s."""
    connection = response.connection
    transport = None if connection is None else connection.transport
    link: socket.socket | None = None if transport is None else transport.get_extra_info("socket")
    if link is None:
        # All of it is here already.
        return
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, IDLE_SECONDS)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBE_SECONDS)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)

"""The same stack without the work: TLS, gRPC and the method, answering a constant of the usual size."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import grpc
import uvloop

from signer._pb.security.v1alpha1.ca_pb2 import IstioCertificateRequest, IstioCertificateResponse
from signer.server.listener import ListenerSettings, options
from signer.server.rpc import METHOD, SERVICE


async def serve(pair: tuple[bytes, bytes], answer: list[str], tell: Callable[[int], None]) -> None:
    """Serve until SIGTERM; ``tell`` the port once it does."""
    response = IstioCertificateResponse(cert_chain=answer)

    async def create(_: IstioCertificateRequest, __: grpc.aio.ServicerContext) -> IstioCertificateResponse:
        return response

    method = grpc.unary_unary_rpc_method_handler(
        create,
        request_deserializer=IstioCertificateRequest.FromString,
        response_serializer=IstioCertificateResponse.SerializeToString,
    )
    server = grpc.aio.server(options=options(ListenerSettings("")))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: method}),))
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    await server.start()
    tell(port)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await server.stop(1)


def main() -> None:
    """Take KEY CHAIN ANSWER.json READY from the command line."""
    key, chain, answer, ready = map(Path, sys.argv[1:5])
    pair = (key.read_bytes(), chain.read_bytes())

    def tell(port: int) -> None:
        ready.write_text(json.dumps({"grpc_port": port, "pid": os.getpid()}), encoding="ascii")

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(pair, json.loads(answer.read_text(encoding="ascii")), tell))


if __name__ == "__main__":
    main()

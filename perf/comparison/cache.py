"""A cache of the RPKI for measurements (RFC 8210): it says one table of VRPs, then another instead."""

import socket
import struct
import threading

SERIAL_NOTIFY, CACHE_RESPONSE, IPV4_PREFIX, END_OF_DATA = 0, 3, 4, 7
VERSION, SESSION = 1, 7
ANNOUNCE, WITHDRAW = 1, 0
REFRESH_SECONDS, RETRY_SECONDS, EXPIRE_SECONDS = 3600, 600, 7200


def pdu(kind: int, body: bytes = b"") -> bytes:
    return struct.pack("!BBHI", VERSION, kind, SESSION, 8 + len(body)) + body


def vrp(flags: int, nlri: bytes, asn: int) -> bytes:
    """A VRP for a prefix as NLRI, and nothing longer."""
    length = nlri[0]
    return struct.pack("!BBHIBBBB4sI", VERSION, IPV4_PREFIX, 0, 20, flags, length, length, 0,
                       nlri[1:].ljust(4, b"\0"), asn)


def answer(serial: int, vrps: list[bytes]) -> bytes:
    end = struct.pack("!IIII", serial, REFRESH_SECONDS, RETRY_SECONDS, EXPIRE_SECONDS)
    return pdu(CACHE_RESPONSE) + b"".join(vrps) + pdu(END_OF_DATA, end)


class Cache:
    """Listens, and answers the one router that comes."""

    def __init__(self, first: list[bytes]):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.router: socket.socket | None = None
        self.first = answer(1, first)
        self.answered = threading.Event()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        self.router, _ = self.listener.accept()
        # A Reset Query.
        self.router.recv(8, socket.MSG_WAITALL)
        self.router.sendall(self.first)
        self.answered.set()

    def replace(self, changes: list[bytes]) -> None:
        """Says the changes, once the router asks for them."""
        said = answer(2, changes)
        self.router.sendall(pdu(SERIAL_NOTIFY, struct.pack("!I", 2)))
        # A Serial Query.
        self.router.recv(12, socket.MSG_WAITALL)
        self.router.sendall(said)

    def close(self) -> None:
        self.listener.close()
        if self.router is not None:
            self.router.close()

"""A router that withdraws and announces single routes without end, for the soak: RFC 4271 as far as
that needs. What it is told it throws away."""

import random
import socket
import struct
import threading
import time

OPEN, UPDATE, KEEPALIVE = 1, 2, 4
HOLD_SECONDS = 180
KEEPALIVE_SECONDS = 30
AS_TRANS = 23456


def message(kind: int, body: bytes = b"") -> bytes:
    return b"\xff" * 16 + struct.pack("!HB", 19 + len(body), kind) + body


def open_message(asn: int, identifier: str) -> bytes:
    """RFC 4271 §4.2, with IPv4 unicast (RFC 4760) and four-octet AS numbers (RFC 6793)."""
    capabilities = struct.pack("!BBHBB", 1, 4, 1, 0, 1) + struct.pack("!BBI", 65, 4, asn)
    parameters = struct.pack("!BB", 2, len(capabilities)) + capabilities
    return message(OPEN, struct.pack("!BHH", 4, AS_TRANS, HOLD_SECONDS)
                   + socket.inet_aton(identifier) + bytes([len(parameters)]) + parameters)


def announcement(prefixes: list[bytes], path: list[int], next_hop: str, community: int) -> bytes:
    segment = struct.pack("!BB", 2, len(path)) + struct.pack(f"!{len(path)}I", *path)
    attributes = (b"\x40\x01\x01\x00" + b"\x40\x02" + bytes([len(segment)]) + segment
                  + b"\x40\x03\x04" + socket.inet_aton(next_hop)
                  + b"\xc0\x08\x04" + struct.pack("!I", community))
    return message(UPDATE, struct.pack("!HH", 0, len(attributes)) + attributes + b"".join(prefixes))


def withdrawal(prefixes: list[bytes]) -> bytes:
    gone = b"".join(prefixes)
    return message(UPDATE, struct.pack("!H", len(gone)) + gone + struct.pack("!H", 0))


class Churner(threading.Thread):
    """Announces and withdraws the /24s of one /8 at random, `rate` changes a second, until it is
    told to rest; then the session stays up until it is closed."""

    STEP_SECONDS = 0.05

    def __init__(self, address: str, asn: int, port: int, rate: int, first_octet: int):
        super().__init__(daemon=True)
        self.asn, self.rate, self.first_octet = asn, rate, first_octet
        self.changes = 0
        self.failure: str | None = None
        self.resting = threading.Event()
        self.socket = socket.create_connection(("127.0.0.1", port), source_address=(address, 0))
        self.socket.sendall(open_message(asn, address))
        # The target's OPEN; what follows is its KEEPALIVE, and routes.
        self.socket.recv(4096)
        self.socket.sendall(message(KEEPALIVE))

    def run(self) -> None:
        threading.Thread(target=self.drain, daemon=True).start()
        try:
            keepalive_at = time.monotonic() + KEEPALIVE_SECONDS
            while True:
                if not self.resting.is_set():
                    self.change(max(int(self.rate * self.STEP_SECONDS / 2), 1))
                if time.monotonic() >= keepalive_at:
                    self.socket.sendall(message(KEEPALIVE))
                    keepalive_at = time.monotonic() + KEEPALIVE_SECONDS
                time.sleep(self.STEP_SECONDS)
        except OSError as error:
            self.failure = str(error)

    def change(self, count: int) -> None:
        """Withdraws so many routes and announces as many, each drawn anew."""
        def draw() -> list[bytes]:
            return [bytes([24, self.first_octet, random.randrange(128), random.randrange(256)])
                    for _ in range(count)]
        path = [self.asn] + [random.randrange(100_000, 200_000) for _ in range(random.randrange(5))]
        self.socket.sendall(withdrawal(draw()) + announcement(
            draw(), path, "192.0.2.1", 64000 << 16 | random.randrange(1000)))
        self.changes += 2 * count

    def drain(self) -> None:
        try:
            while self.socket.recv(1 << 20):
                pass
            self.failure = self.failure or "the target closed the connection"
        except OSError as error:
            self.failure = self.failure or str(error)

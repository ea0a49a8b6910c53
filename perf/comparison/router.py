"""A router for measurements in which sessions end and come back: it dials until it is let in, offers
Graceful Restart (RFC 4724), announces a table, and notes when it was told what."""

import socket
import struct
import threading
import time

from .churner import AS_TRANS, HOLD_SECONDS, KEEPALIVE, KEEPALIVE_SECONDS, OPEN, UPDATE, \
    announcement, message

# RFC 4724 §2, for IPv4 unicast.
END_OF_RIB = message(UPDATE, bytes(4))
DIAL_SECONDS = 0.002
PER_ATTRIBUTES = 5
RESTART_SECONDS = 120
RESTART_STATE = 0x80


def prefix(sender: int, number: int) -> bytes:
    """A /24 as NLRI: those of one sender are distinct, in no order, and not another one's."""
    place = number * 1_000_003 % (32 << 16)
    return bytes([24, 1 + 40 * sender + (place >> 16), place >> 8 & 255, place & 255])


def origin(number: int) -> int:
    """The AS that originates a prefix of a table."""
    return 200_000 + number // PER_ATTRIBUTES


def mark(sender: int) -> int:
    """The community of the last route of a table, which no other has."""
    return 0xfeed_be00 + sender


def table(sender: int, asn: int, count: int) -> bytes:
    """The UPDATEs of so many routes, a marked one, and End-of-RIB."""
    said = []
    for first in range(0, count, PER_ATTRIBUTES):
        prefixes = [prefix(sender, number) for number in range(first, first + PER_ATTRIBUTES)]
        path = [asn, 3000 + first % 977, origin(first)]
        said.append(announcement(prefixes, path, "192.0.2.1", 65 << 16 | first & 0xffff))
    said.append(announcement([prefix(sender, count)], [asn], "192.0.2.1", mark(sender)))
    return b"".join(said) + END_OF_RIB


def open_message(asn: int, identifier: str) -> bytes:
    """RFC 4271 §4.2, with 4760, 6793, and 4724: forwarding state is kept."""
    capabilities = (struct.pack("!BBHBB", 1, 4, 1, 0, 1) + struct.pack("!BBI", 65, 4, asn)
                    + struct.pack("!BBHHBB", 64, 6, RESTART_SECONDS, 1, 1, 0x80))
    parameters = struct.pack("!BB", 2, len(capabilities)) + capabilities
    return message(OPEN, struct.pack("!BHH", 4, AS_TRANS, HOLD_SECONDS)
                   + socket.inet_aton(identifier) + bytes([len(parameters)]) + parameters)


class Router(threading.Thread):
    """One session, from the first attempt to dial on. `wanted` are octets that are looked for in what
    is told; `seen` has when each came first."""

    def __init__(self, address: str, asn: int, port: int, said: bytes, wanted: list[bytes]):
        super().__init__(daemon=True)
        self.address, self.asn, self.port, self.said = address, asn, port, said
        self.wanted = wanted
        self.seen: dict[bytes, float] = {}
        self.opened_at: float | None = None
        # When something was told last, and how many octets in all.
        self.heard_at = 0.0
        self.octets = 0
        # Whether the other side says that it has restarted.
        self.peer_restarted = False
        self.socket: socket.socket | None = None
        self.start()

    def run(self) -> None:
        while self.socket is None:
            try:
                self.socket = socket.create_connection(
                    ("127.0.0.1", self.port), source_address=(self.address, 0))
            except OSError:
                time.sleep(DIAL_SECONDS)
        try:
            self.socket.sendall(open_message(self.asn, self.address))
            heard = self.socket.recv(4096)
            self.opened_at = time.monotonic()
            at = heard.find(bytes([64, 6]))
            self.peer_restarted = at >= 0 and heard[at + 2] & RESTART_STATE != 0
            self.socket.sendall(message(KEEPALIVE))
            threading.Thread(target=self.say, daemon=True).start()
            self.listen()
        except OSError:
            pass

    def say(self) -> None:
        try:
            self.socket.sendall(self.said)
            while True:
                time.sleep(KEEPALIVE_SECONDS)
                self.socket.sendall(message(KEEPALIVE))
        except OSError:
            pass

    def listen(self) -> None:
        before = b""
        longest = max(map(len, self.wanted), default=1)
        while heard := self.socket.recv(1 << 20):
            now = self.heard_at = time.monotonic()
            self.octets += len(heard)
            window = before + heard
            for octets in self.wanted:
                if octets not in self.seen and octets in window:
                    self.seen[octets] = now
            before = window[-longest:]

    def wait(self, deadline: float) -> None:
        """Until all that is wanted was seen."""
        while len(self.seen) < len(self.wanted):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.address} was not told what it waits for")
            time.sleep(0.005)

    def wait_until_quiet(self, seconds: float) -> None:
        """Until nothing was told for so long."""
        while time.monotonic() < self.heard_at + seconds:
            time.sleep(0.01)

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()

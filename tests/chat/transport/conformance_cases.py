"""The cases of the conformance suite, numbered after the Autobahn test suite's sections.

Each is a list of pieces that a raw client writes, one after the other.
"""

from typing import Final

from tests.chat.transport.support import client_frame, close_payload

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

_BYE: Final = client_frame(close_payload(1000), opcode=CLOSE)
_UTF8: Final = "Hello-µ@ßöäüàá-UTF-8!! κόσμε 𠜎".encode()


def _octets(data: bytes) -> list[bytes]:
    return [data[index : index + 1] for index in range(len(data))]


def _chunks(data: bytes, size: int) -> list[bytes]:
    return [data[index : index + size] for index in range(0, len(data), size)]


def _sizes() -> dict[str, list[bytes]]:
    cases: dict[str, list[bytes]] = {}
    for number, size in enumerate((0, 125, 126, 127, 128, 65535, 65536), start=1):
        cases[f"1.1.{number} text of {size}"] = [client_frame(b"*" * size, opcode=TEXT), _BYE]
        cases[f"1.2.{number} binary of {size}"] = [client_frame(b"\xfe" * size), _BYE]
    cases["1.1.8 text of 65536 in chunks of 997"] = [
        *_chunks(client_frame(b"*" * 65536, opcode=TEXT), 997),
        _BYE,
    ]
    return cases


def _pings() -> dict[str, list[bytes]]:
    ten = [client_frame(b"payload-%d" % number, opcode=PING) for number in range(10)]
    return {
        "2.1 ping without payload": [client_frame(opcode=PING), _BYE],
        "2.2 ping with text": [client_frame(b"Hello, world!", opcode=PING), _BYE],
        "2.3 ping with binary": [client_frame(b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff", opcode=PING), _BYE],
        "2.4 ping of 125": [client_frame(b"\xfe" * 125, opcode=PING), _BYE],
        "2.5 ping of 126": [client_frame(b"\xfe" * 126, opcode=PING), _BYE],
        "2.6 ping of 125 octet by octet": [*_octets(client_frame(b"\xfe" * 125, opcode=PING)), _BYE],
        "2.7 unsolicited pong": [client_frame(opcode=PONG), _BYE],
        "2.9 pong then ping": [client_frame(b"x", opcode=PONG), client_frame(b"y", opcode=PING), _BYE],
        "2.10 ten pings": [*ten, _BYE],
        "2.11 ten pings octet by octet": [*_octets(b"".join(ten)), _BYE],
        "2.13 unmasked ping before a message, one write": [
            client_frame(b"one"),
            client_frame(b"Hello", opcode=PING, key=None) + client_frame(b"two"),
        ],
        "2.14 two hundred pings and pongs, one write": [
            b"".join(client_frame(b"%d" % number, opcode=PING + number % 2) for number in range(200)),
            _BYE,
        ],
        "2.15 close behind a hundred pings, one write": [b"".join(ten * 10) + _BYE],
        "2.12 ten pings between messages, one write": [
            b"".join(ping + client_frame(b"%d" % number, opcode=TEXT) for number, ping in enumerate(ten)),
            _BYE,
        ],
    }


def _reserved() -> dict[str, list[bytes]]:
    hello = client_frame(b"Hello", opcode=TEXT)
    cases = {
        f"3.{bits} reserved bits {bits} on text": [hello, client_frame(b"Hello", opcode=TEXT, reserved=bits)]
        for bits in range(1, 8)
    }
    cases["3.8 reserved bits on binary, octets"] = [hello, *_octets(client_frame(b"Hello", reserved=4))]
    cases["3.9 reserved bits on ping"] = [hello, client_frame(b"Hello", opcode=PING, reserved=5)]
    cases["3.10 reserved bits on close"] = [client_frame(close_payload(1000), opcode=CLOSE, reserved=7)]
    return cases


def _opcodes() -> dict[str, list[bytes]]:
    hello = client_frame(b"Hello", opcode=TEXT)
    ping = client_frame(opcode=PING)
    cases: dict[str, list[bytes]] = {}
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        cases[f"4.{opcode} unknown opcode"] = [hello, client_frame(b"x", opcode=opcode), ping]
        cases[f"4.{opcode} unknown opcode, octets"] = [
            hello,
            *_octets(client_frame(opcode=opcode)),
            ping,
        ]
    return cases


def _fragments() -> dict[str, list[bytes]]:
    first = client_frame(b"fragment1", opcode=TEXT, fin=False)
    middle = client_frame(b"fragment2", opcode=CONTINUATION, fin=False)
    last = client_frame(b"fragment3", opcode=CONTINUATION)
    ping = client_frame(b"ping payload", opcode=PING)
    whole = client_frame(b"whole", opcode=TEXT)
    return {
        "5.1 fragmented ping": [client_frame(b"a", opcode=PING, fin=False)],
        "5.2 fragmented pong": [client_frame(b"a", opcode=PONG, fin=False)],
        "5.3 two fragments": [first, last, _BYE],
        "5.4 two fragments, one write": [first + last, _BYE],
        "5.5 two fragments, octets": [*_octets(first + last), _BYE],
        "5.6 ping between fragments": [first, ping, last, _BYE],
        "5.7 ping between fragments, one write": [first + ping + last, _BYE],
        "5.8 ping between fragments, octets": [*_octets(first + ping + last), _BYE],
        "5.9 continuation without a beginning": [last, whole],
        "5.10 the same, one write": [last + whole],
        "5.12 continuation without FIN or beginning": [middle, whole],
        "5.15 continuation after a finished message": [first, last, last],
        "5.16 twice a continuation without a beginning": [middle, middle, whole],
        "5.18 text inside a fragmented message": [first, whole],
        "5.18 binary inside a fragmented message": [first, client_frame(b"whole")],
        "5.19 five fragments, pings between": [first, middle, ping, middle, middle, ping, last, _BYE],
        "5.20 the same, one write": [first + middle + ping + middle + middle + ping + last, _BYE],
        "5.21 whole after fragmented after whole": [whole, first, last, whole, whole, _BYE],
        "5.22 the same, each write cut": [
            *_chunks(whole + first + last + whole + first + ping + last + whole, 5),
            _BYE,
        ],
        "5.26 pings before, between and behind two fragmented messages, one write": [
            ping + whole + first + ping + last + ping + whole + first + middle + ping + last + ping + whole,
            _BYE,
        ],
        "5.27 ping of 126 behind a fragmented message": [
            first + last,
            client_frame(b"x" * 126, opcode=PING) + whole,
        ],
        "5.28 unmasked ping between fragments": [first, client_frame(b"x", opcode=PING, key=None), last],
        "5.29 the same, one write behind a message": [
            whole,
            first + client_frame(b"x", opcode=PING, key=None) + last + whole,
        ],
        "5.30 a hundred fragmented messages and pings, one write": [
            (first + last + ping + whole) * 100,
            _BYE,
        ],
        "5.31 a ping cut behind a fragmented message": [first + last + ping[:3], ping[3:], whole, _BYE],
        "5.32 messages, a fragmented one, and a close with more behind it": [
            whole * 70 + first + last,
            _BYE + whole,
        ],
        "5.23 empty fragments": [
            client_frame(opcode=BINARY, fin=False),
            client_frame(opcode=CONTINUATION, fin=False),
            client_frame(opcode=CONTINUATION),
            _BYE,
        ],
        "5.24 close inside a fragmented message": [first, _BYE],
        "5.25 large fragments": [
            client_frame(b"a" * 70000, opcode=BINARY, fin=False),
            client_frame(b"b" * 70000, opcode=CONTINUATION),
            whole,
            _BYE,
        ],
    }


def _utf8() -> dict[str, list[bytes]]:
    half = len(_UTF8) // 2 + 1
    bad = _UTF8 + b"\xed\xa0\x80edited"
    return {
        "6.1 empty text": [client_frame(opcode=TEXT), _BYE],
        "6.2 valid": [client_frame(_UTF8, opcode=TEXT), _BYE],
        "6.2 valid, fragmented inside a character": [
            client_frame(_UTF8[:half], opcode=TEXT, fin=False),
            client_frame(_UTF8[half:], opcode=CONTINUATION),
            _BYE,
        ],
        "6.2 valid, a fragment an octet": [
            client_frame(_UTF8[:1], opcode=TEXT, fin=False),
            *(client_frame(octet, opcode=CONTINUATION, fin=False) for octet in _octets(_UTF8[1:-1])),
            client_frame(_UTF8[-1:], opcode=CONTINUATION),
            _BYE,
        ],
        "6.3 invalid, fragmented": [
            client_frame(bad[:half], opcode=TEXT, fin=False),
            client_frame(bad[half:], opcode=CONTINUATION),
        ],
        "6.4 invalid at once in the first fragment": [client_frame(bad, opcode=TEXT, fin=False)],
        "6.5 binary need not be UTF-8": [client_frame(bad), _BYE],
    }


def _closes() -> dict[str, list[bytes]]:
    hello = client_frame(b"Hello", opcode=TEXT)
    cases = {
        "7.1.1 message, close": [hello, _BYE],
        "7.1.2 two closes": [_BYE, _BYE],
        "7.1.3 ping after close": [_BYE, client_frame(opcode=PING)],
        "7.1.4 message after close": [_BYE, hello],
        "7.1.5 message after close, one write": [hello, _BYE + hello],
        "7.1.6 large message, then close": [client_frame(b"*" * 262144, opcode=TEXT), hello, _BYE],
        "7.3.1 empty close": [client_frame(opcode=CLOSE)],
        "7.3.2 close of one octet": [client_frame(b"a", opcode=CLOSE)],
        "7.3.3 close without reason": [client_frame(close_payload(1000), opcode=CLOSE)],
        "7.3.4 close with reason": [client_frame(close_payload(1000, b"Hello"), opcode=CLOSE)],
        "7.3.5 longest reason": [client_frame(close_payload(1000, b"*" * 123), opcode=CLOSE)],
        "7.3.6 reason too long": [client_frame(close_payload(1000, b"*" * 124), opcode=CLOSE)],
        "7.5.1 reason not UTF-8": [client_frame(close_payload(1000, b"\xed\xa0\x80"), opcode=CLOSE)],
        "7.6 close, octets": [*_octets(client_frame(close_payload(1000, b"bye"), opcode=CLOSE))],
    }
    for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999):
        cases[f"7.7 close {code}"] = [client_frame(close_payload(code), opcode=CLOSE)]
    for code in (0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65535):
        cases[f"7.9 close {code}"] = [client_frame(close_payload(code), opcode=CLOSE)]
    return cases


def _limits() -> dict[str, list[bytes]]:
    big = client_frame(bytes(range(256)) * 1024)
    return {
        "9.1 256 KiB": [big, _BYE],
        "9.2 256 KiB, chunks of 4096": [*_chunks(big, 4096), _BYE],
        "9.3 256 KiB in fragments of 64 KiB": [
            client_frame(b"0" * 65536, fin=False),
            *(client_frame(b"%d" % number * 65536, opcode=CONTINUATION, fin=False) for number in (1, 2)),
            client_frame(b"3" * 65536, opcode=CONTINUATION),
            _BYE,
        ],
        "9.7 a hundred messages, one write": [
            b"".join(client_frame(b"%d" % number, opcode=TEXT) for number in range(100)),
            _BYE,
        ],
        "10.1 65536 of text in chunks of 1300": [
            *_chunks(client_frame(b"*" * 65536, opcode=TEXT), 1300),
            _BYE,
        ],
        "11.1 unmasked text": [client_frame(b"Hello", opcode=TEXT, key=None)],
        "11.2 unmasked ping": [client_frame(b"Hello", opcode=PING, key=None)],
        "11.3 length of 5 in 16 bits": [client_frame(b"Hello", width=2)],
        "11.4 length of 5 in 64 bits": [client_frame(b"Hello", width=8)],
        "11.5 length of 126 in 64 bits": [client_frame(b"H" * 126, width=8)],
        "11.6 length with its highest bit": [b"\x82\xff\x80" + bytes(7) + b"keys" + b"payload"],
        "11.7 key of zeros": [client_frame(b"Hello", key=bytes(4)), _BYE],
    }


CASES: Final = _sizes() | _pings() | _reserved() | _opcodes() | _fragments() | _utf8() | _closes() | _limits()

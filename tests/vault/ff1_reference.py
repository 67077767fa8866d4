"""FF1 of NIST SP 800-38G in forty lines over AES-CBC-MAC, to check the library against."""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes


def ff1_encrypt(key: bytes, tweak: bytes, numerals: list[int], radix: int) -> list[int]:
    """Algorithm 7, step by step."""
    n, t = len(numerals), len(tweak)
    u = n // 2
    v = n - u
    a, b = numerals[:u], numerals[u:]
    width = (((radix**v - 1).bit_length()) + 7) // 8
    d = 4 * ((width + 3) // 4) + 4
    p = bytes([1, 2, 1]) + radix.to_bytes(3, "big") + bytes([10, u % 256])
    p += n.to_bytes(4, "big") + t.to_bytes(4, "big")
    for i in range(10):
        q = (
            tweak
            + bytes(-(t + width + 1) % 16)
            + bytes([i])
            + _number(b, radix).to_bytes(width, "big")
        )
        r = _mac(key, p + q)
        s = r
        for j in range(1, (d + 15) // 16):
            s += _block(key, bytes(x ^ y for x, y in zip(r, j.to_bytes(16, "big"), strict=True)))
        y = int.from_bytes(s[:d], "big")
        m = u if i % 2 == 0 else v
        c = (_number(a, radix) + y) % radix**m
        a, b = b, _numerals(c, radix, m)
    return a + b


def _number(numerals: list[int], radix: int) -> int:
    value = 0
    for numeral in numerals:
        value = value * radix + numeral
    return value


def _numerals(value: int, radix: int, length: int) -> list[int]:
    found = []
    for _ in range(length):
        value, rest = divmod(value, radix)
        found.append(rest)
    return found[::-1]


def _block(key: bytes, block: bytes) -> bytes:
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305 (one block)
    return encryptor.update(block)


def _mac(key: bytes, data: bytes) -> bytes:
    last = bytes(16)
    for at in range(0, len(data), 16):
        last = _block(key, bytes(x ^ y for x, y in zip(last, data[at : at + 16], strict=True)))
    return last

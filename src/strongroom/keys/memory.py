"""Keeps key material out of core dumps, out of swap and out of reach of other processes.

Key bytes that are ours lie in pages that the kernel itself cannot read for anyone (memfd_secret),
or else in locked pages that are left out of dumps and wiped in a forked child. They are zeroed when
their last user lets go. What this cannot do in Python, above all for the copies that ciphers hold
inside OpenSSL, is said in docs/threat-model/secrets-in-memory.md.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import mmap
import os
import resource
import sys
import threading
import weakref
from typing import Any, Literal

_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
_SYS_MEMFD_SECRET = 447
_MADV_DONTFORK, _MADV_DONTDUMP, _MADV_WIPEONFORK = 10, 16, 18
_O_CLOEXEC = os.O_CLOEXEC
_FAILED = ctypes.c_void_p(-1).value

SLOT_BYTES = 32
PAGE_BYTES = mmap.PAGESIZE
PAGES_MAX = 1024
"""4 MiB of RLIMIT_MEMLOCK's usual 8: 131,072 keys at once, more than the caches may hold."""

Protection = Literal["memfd_secret", "mlock", "none"]
_log = logging.getLogger("strongroom.keys")
_Slot = ctypes.c_ubyte * SLOT_BYTES


def harden_process() -> bool:
    """Forbid core dumps and, on Linux, tracing by the same user; returns whether all was done.

    Call it first thing in every process that will hold a key. Child processes inherit the core
    limit, and take the dumpable flag back when they run another program. No program that is run
    from here gains rights by its file.
    """
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    no_core = resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
    if not sys.platform.startswith("linux"):
        return False
    libc = _libc()
    no_gain = libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    return no_core and no_gain and libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) == 0


class SecretPages:
    """Hands out places of 32 bytes in protected pages; a place is zeroed when nobody holds it.

    Args:
        allowed: which protections may be tried, the best first.
        pages_max: pages at most; then, and where nothing can be protected, plain memory serves.
    """

    def __init__(
        self,
        *,
        allowed: tuple[Protection, ...] = ("memfd_secret", "mlock"),
        pages_max: int = PAGES_MAX,
    ) -> None:
        self._allowed = allowed
        self._pages_max = pages_max
        self._lock = threading.Lock()
        self._warned = False
        self._start()

    @property
    def protection(self) -> Protection:
        """How the pages are protected; makes the first one if there is none yet."""
        with self._lock:
            if not self._free and not self._pages:
                self._grow()
            return self._protection

    @property
    def held(self) -> int:
        """How many places are in use."""
        return self._pages * (PAGE_BYTES // SLOT_BYTES) - len(self._free)

    def take(self) -> memoryview:
        """Return 32 zero bytes to write a key into; whoever holds the view holds the place."""
        with self._lock:
            if os.getpid() != self._pid:
                self._start()
            if not self._free:
                self._grow()
            address = self._free.pop() if self._free else None
        if address is None:
            return memoryview(bytearray(SLOT_BYTES))
        slot = _Slot.from_address(address)
        weakref.finalize(slot, self._give_back, address, self._pid).atexit = False
        return memoryview(slot).cast("B")

    def _start(self) -> None:
        """Begin with nothing: what a parent process held is not this one's."""
        self._pid = os.getpid()
        self._pages = 0
        self._free: list[int] = []
        self._protection: Protection = "none"

    def _give_back(self, address: int, pid: int) -> None:
        """Zero a place. In a forked child the page is not there, or is zero already."""
        if pid != os.getpid():
            return
        ctypes.memset(address, 0, SLOT_BYTES)
        self._free.append(address)

    def _grow(self) -> None:
        if self._pages >= self._pages_max:
            return
        address = None
        for protection in self._allowed:
            address = _secret_page() if protection == "memfd_secret" else _locked_page()
            if address is not None:
                self._protection = protection
                break
        if address is None:
            if not self._warned:
                self._warned = True
                _log.warning("keys lie in plain memory: no page can be locked here (ulimit -l)")
            return
        self._pages += 1
        self._free.extend(range(address, address + PAGE_BYTES, SLOT_BYTES))


PAGES = SecretPages()
"""The pages of this process."""


def key_pages() -> Protection:
    """Return how clear keys are protected here, for `doctor`."""
    return PAGES.protection


def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def _map(flags: int, descriptor: int) -> int | None:
    libc = _libc()
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [
        ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long,
    ]  # fmt: skip
    both = mmap.PROT_READ | mmap.PROT_WRITE
    address = libc.mmap(None, PAGE_BYTES, both, flags, descriptor, 0)
    return None if address in (None, _FAILED) else int(address)


def _advise(address: int, advice: int) -> bool:
    libc = _libc()
    return bool(libc.madvise(ctypes.c_void_p(address), ctypes.c_size_t(PAGE_BYTES), advice) == 0)


def _secret_page() -> int | None:
    """Return a page that is in no other address space, the kernel's included (memfd_secret(2))."""
    if not sys.platform.startswith("linux"):
        return None
    descriptor = _libc().syscall(_SYS_MEMFD_SECRET, _O_CLOEXEC)
    if descriptor < 0:
        return None
    try:
        os.ftruncate(descriptor, PAGE_BYTES)
        address = _map(mmap.MAP_SHARED, descriptor)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    if address is not None and not _advise(address, _MADV_DONTFORK):
        return None
    return address


def _locked_page() -> int | None:
    """Return a page that is not swapped, not dumped, and empty in a forked child."""
    if not sys.platform.startswith("linux"):
        return None
    address = _map(mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1)
    if address is None:
        return None
    locked = _libc().mlock(ctypes.c_void_p(address), ctypes.c_size_t(PAGE_BYTES)) == 0
    if locked and _advise(address, _MADV_DONTDUMP) and _advise(address, _MADV_WIPEONFORK):
        return address
    return None

"""Counters in Valkey (or Redis), where the database is to be spared: one script, atomic, its clock.

The script does the arithmetic of `model.decide`; ticks since 2026 stay below 2^53, where Lua's
doubles are exact. A counter that is full again expires by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from valkey.asyncio import BlockingConnectionPool, Valkey
from valkey.exceptions import ValkeyError

from strongroom.kernel.edge_limits import COUNTERS_TIMEOUT_S, VALKEY_CONNECTIONS_MAX
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.secret import Secret
from strongroom.storage.counters.model import Ask, Grant

_SCRIPT = """
local time = redis.call('TIME')
local now = (tonumber(time[1]) - 1767225600) * 10000000 + tonumber(time[2]) * 10
local out = {}
for i, key in ipairs(KEYS) do
  local at = (i - 1) * 6
  local step, most, burst = tonumber(ARGV[at+1]), tonumber(ARGV[at+2]), tonumber(ARGV[at+3])
  local least, back, window = tonumber(ARGV[at+4]), tonumber(ARGV[at+5]), tonumber(ARGV[at+6])
  local stored = redis.call('HMGET', key, 'l', 'w')
  local level, win = tonumber(stored[1] or '0'), tonumber(stored[2] or '0')
  local units, remaining, wait, full = 0, 0, 0, 0
  local function granted(available)
    if available <= 0 or least <= 0 then return 0 end
    return math.min(available, math.max(least, math.floor(available / 16)))
  end
  if burst == 0 then
    local current = math.floor(now / step)
    if win ~= current then level = 0 end
    win = current
    if window == current then level = math.max(0, level - back) end
    units = granted(most - level)
    level = level + units
    remaining = math.max(0, most - level)
    full = (current + 1) * step
    if remaining == 0 then wait = full - now end
  else
    win = 0
    level = math.max(level - back * step, now)
    local room = now + burst * step
    units = granted(math.floor((room - level) / step))
    level = level + units * step
    remaining = math.max(0, math.floor((room - level) / step))
    full = level
    if remaining == 0 then wait = level + step - room end
  end
  redis.call('HSET', key, 'l', string.format('%.0f', level), 'w', string.format('%.0f', win))
  redis.call('PEXPIRE', key, math.max(1, math.ceil((full - now) / 10000)))
  out[#out+1] = {units, remaining, string.format('%.0f', wait), string.format('%.0f', win)}
end
return out
"""


class ValkeyCounters:
    """A store of counters in Valkey.

    Args:
        url: `valkeys://user:password@host:port/db`; `valkey://` without TLS only to this machine.
        prefix: what the keys begin with, so that installations can share a server.
        ca_file: replaces the system's certificate authorities.
    """

    def __init__(self, url: Secret[str], *, prefix: str, ca_file: str | None = None) -> None:
        options: dict[str, Any] = {} if ca_file is None else {"ssl_ca_certs": ca_file}
        pool = BlockingConnectionPool.from_url(
            url.reveal(),
            max_connections=VALKEY_CONNECTIONS_MAX,
            timeout=COUNTERS_TIMEOUT_S,
            socket_timeout=COUNTERS_TIMEOUT_S,
            socket_connect_timeout=COUNTERS_TIMEOUT_S,
            **options,
        )
        self._client = Valkey(connection_pool=pool)
        self._script = self._client.register_script(_SCRIPT)
        self._prefix = prefix.encode()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose(close_connection_pool=True)

    async def take(self, asks: Sequence[Ask]) -> list[Grant]:
        """Grant units of several counters in one call.

        Raises:
            StrongroomError: `storage_unavailable`.
        """
        arguments: list[int] = []
        for ask in asks:
            rule = ask.rule
            arguments += (rule.interval, rule.units, rule.burst)
            arguments += (ask.least, ask.returned, ask.window)
        try:
            found = await self._script([self._prefix + ask.key for ask in asks], arguments)
        except (ValkeyError, OSError, TimeoutError) as error:
            raise StrongroomError(
                "storage_unavailable",
                "The service cannot count requests right now. Try again shortly.",
                detail=type(error).__name__,
                retryable=True,
                retry_after_s=2,
            ) from None
        return [
            Grant(units=units, remaining=remaining, wait=int(wait), window=int(window))
            for units, remaining, wait, window in found
        ]

    async def purge(self) -> int:
        """Forget nothing: counters expire by themselves."""
        return 0

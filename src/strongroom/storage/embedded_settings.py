"""The settings of the private PostgreSQL: how it keeps data, who may log in, what it never logs.

Written anew at each start from here, so an upgrade brings its settings along. What an operator
puts into `local.conf` beside it is read in between: it can tune, it cannot make data less safe.
"""

from __future__ import annotations

ROLES = ("strongroom_owner", "strongroom_pay", "strongroom_vault", "strongroom_journal")
READER = "strongroom_read"
SUPERUSER = "postgres"
DATABASE = "strongroom"
LOGINS = (SUPERUSER, *ROLES, READER)

_TUNABLE = """\
# Written at each start. Put settings of your own into local.conf in this directory.
shared_buffers = 128MB
work_mem = 4MB
maintenance_work_mem = 64MB
temp_file_limit = 4GB
max_connections = 60
max_worker_processes = 4
max_logical_replication_workers = 0     # we subscribe to nothing: one process less
max_parallel_workers_per_gather = 0     # short statements on few cores: workers cost more
jit = off                               # a payment's statements never live long enough to gain
random_page_cost = 1.1
checkpoint_timeout = 10min
max_wal_size = 1GB                      # bounds the time of a recovery
min_wal_size = 128MB
wal_buffers = 8MB
autovacuum_naptime = 15s
autovacuum_max_workers = 2
autovacuum_vacuum_scale_factor = 0.05
autovacuum_vacuum_insert_scale_factor = 0.1
autovacuum_analyze_scale_factor = 0.05
log_checkpoints = on
log_lock_waits = on
log_autovacuum_min_duration = 10s
"""

_FIXED = """\
include_if_exists 'local.conf'

# Durability: no answer before the disk has it.
fsync = on
synchronous_commit = on
full_page_writes = on
wal_level = replica
zero_damaged_pages = off
ignore_checksum_failure = off

# Reached through the socket directory only, by password only.
listen_addresses = ''
port = 5432
unix_socket_permissions = 0700
password_encryption = scram-sha-256
authentication_timeout = 10s
shared_preload_libraries = ''
idle_in_transaction_session_timeout = 60s

# The log goes to our watchdog. No statement, bound value or row detail gets into it.
logging_collector = off
log_destination = 'stderr'
log_line_prefix = '%m [%p] %b '
log_error_verbosity = terse
log_statement = none
log_duration = off
log_min_duration_statement = -1
log_min_duration_sample = -1
log_transaction_sample_rate = 0
log_min_error_statement = panic
log_parameter_max_length = 0
log_parameter_max_length_on_error = 0
debug_print_parse = off
debug_print_rewritten = off
debug_print_plan = off

cluster_name = 'strongroom'
timezone = 'UTC'
log_timezone = 'UTC'
datestyle = 'ISO'
lc_messages = 'C'
lc_monetary = 'C'
lc_numeric = 'C'
lc_time = 'C'
"""

# Databases are told apart by CONNECT privileges; no other line, so everything else is refused.
ACCESS = """\
# Written at each start.
local all         all      scram-sha-256
local replication postgres scram-sha-256
"""


def settings(*, major: int, has_lz4: bool) -> str:
    """Return the text of postgresql.conf for a version of PostgreSQL."""
    lines = [f"wal_compression = {'lz4' if has_lz4 else 'off'}"]
    if major >= 17:
        lines.append("allow_alter_system = off")
    if major >= 18:
        lines.append("io_method = sync  # three processes less, and no slower for short reads")
    return _TUNABLE + "\n".join(lines) + "\n\n" + _FIXED


def first_statements(verifiers: dict[str, str]) -> list[str]:
    """Return what a new cluster is given before anyone can connect: roles, database, rights.

    initdb's spare database becomes ours: half the files to write and sync at the first start.

    Args:
        verifiers: each login's SCRAM verifier; clear passwords never reach the server.
    """
    plain = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
    logins = (*ROLES, READER)
    return [
        f"ALTER ROLE {SUPERUSER} PASSWORD '{verifiers[SUPERUSER]}'",
        *(f"CREATE ROLE {role} {plain} PASSWORD '{verifiers[role]}'" for role in logins),
        f"ALTER DATABASE postgres RENAME TO {DATABASE}",
        f"ALTER DATABASE {DATABASE} OWNER TO {ROLES[0]}",
        f"COMMENT ON DATABASE {DATABASE} IS 'payments, vault, journal'",
        *(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC" for name in (DATABASE, "template1")),
        f"GRANT CONNECT ON DATABASE {DATABASE} TO {', '.join(logins)}",
    ]

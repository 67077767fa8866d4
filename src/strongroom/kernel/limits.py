"""Every bound of the house in one place, each with its reason."""

from __future__ import annotations

MAX_BODY_BYTES = 16_384
"""Largest request body: the largest honest payment is about 3 kB."""

MAX_WEBHOOK_BODY_BYTES = 65_536
"""Largest gateway webhook: gateways publish limits below this."""

MAX_JSON_DEPTH = 16
"""Deeper nesting serves only parser attacks."""

MAX_METADATA_KEYS = 20
MAX_METADATA_KEY_CHARS = 40
MAX_METADATA_VALUE_CHARS = 200
"""Metadata is a label, not a document; 20 x 240 characters keep a payment row below a page."""

MAX_GATEWAY_ANSWER_BYTES = 262_144
"""A gateway answer is a few kB; a larger one is hostile or broken."""

GATEWAY_CONNECT_TIMEOUT_MS = 3_000
GATEWAY_TOTAL_TIMEOUT_MS = 20_000
"""Issuers answer within seconds; past this the outcome is unknown and recovery takes over."""

COMMIT_QUEUE_MAX = 4_096
"""Changes that may wait for the committer; more would only grow latency and memory."""

COMMIT_BATCH_MAX = 256
"""Changes in one transaction: keeps statements and lock times short."""

COMMIT_WAIT_MS = 5_000
"""A Change that has not been written by then is refused with 503."""

PAGE_LIMIT_DEFAULT = 10
PAGE_LIMIT_MAX = 100
"""List pages: bounded work for one request."""

IDEMPOTENCY_KEY_MAX_CHARS = 255
IDEMPOTENCY_RETENTION_S = 7 * 24 * 3600
"""Keys are kept a week: longer than any client's retry schedule."""

TOKEN_TTL_UNSAVED_S = 24 * 3600
"""A card that nobody asked to save leaves the vault after a day (PCI DSS 3.2.1)."""

TOKEN_TTL_MIN_S = 60
TOKEN_TTL_MAX_S = 400 * 24 * 3600
"""Life of a token that says its own: at least one payment's time, at most 13 months."""

ALIAS_TRIES = 10
"""Fresh aliases tried when one is taken: with a million of twelve digits in use, one in ten is."""

REVEAL_CALLER_MAX_CHARS = 200
"""Longest name of a caller in a grant; ids have 30."""

IMPORT_CHUNK_LINES = 500
"""Lines of an import in one commit: a few hundred kB, and what a crash repeats at most."""

IMPORT_LINE_MAX_BYTES = 2_048
"""One card with the longest names is below 1 kB."""

REVEAL_GRANT_MAX = 10_000_000
REVEAL_GRANT_MAX_S = 7 * 24 * 3600
"""Card numbers and time of one bulk grant: a merchant's move to another gateway. The same numbers
stand in CHECKs of vault.reveal_grant."""

CVC_HANDLE_TTL_S = 600
"""A sealed CVC handle is useless after ten minutes."""

BATCH_TOKENIZE_MAX = 1_000
"""Cards in one batch call: bounded memory and lock time."""

TOKENS_PER_ENTRY = 100
"""Tokens that one journal entry names: an entry stays below 4 kB."""

API_KEY_CACHE_S = 0.5
"""How long an authenticated key is trusted without a look: revocation shows within a second."""

REQUEST_TIMEOUT_S = 30
"""Longest a request may take, gateway included."""

DRAIN_TIMEOUT_S = 25
"""How long shutdown waits for requests in flight: longer than one gateway call."""

PASSPHRASE_MIN_CHARS = 15
"""Shortest passphrase of the root key: NIST SP 800-63B-4 for a secret that stands alone."""

ROOT_CALL_TIMEOUT_S = 10.0
"""Longest one call to the root's provider may take: network HSMs answer within two seconds."""

ROOT_CALLS_WAITING_MAX = 64
"""Calls to the root's provider that may wait: a start unwraps a few keys, one after another."""

ROOT_ANSWER_MAX_BYTES = 65_536
"""Largest answer of a key service: honest ones have a few kB."""

KEY_CACHE_SIZE = 10_000
KEY_CACHE_TTL_S = 300
"""Unwrapped merchant keys in memory: bounded, and none is trusted longer than five minutes."""

KEY_USES_BLOCK = 65_536
KEY_USES_WARN = 2**30
KEY_USES_ROTATE = 2**31
KEY_USES_MAX = 2**32
"""Seals under one AES-GCM key with random nonces (SP 800-38D section 8.3: at most 2^32). Uses are
set aside in the database in blocks before they happen, so that a crash cannot under-count."""

CRYPTOPERIOD_DAYS = {
    "root": 730,
    "kek": 365,
    "dek": 365,
    "index": 730,
    "visible": 1825,
    "journal-signing": 365,
    "client": 90,
    "records": 730,
    "token-signing": 90,
}
"""How long a key may be active, by kind or purpose (SP 800-57pt1r5 table 1; PCI DSS 3.7.4). What it
sealed may be opened until its rows have moved on. The visible key follows the longest retention."""

KEY_WARN_DAYS = 30
"""Warnings begin this long before a cryptoperiod ends: time for a ceremony."""

KEY_REST_S = 60
"""How much longer than the key cache a replaced key rests before it may be destroyed: commits that
were under way when the last cache let go of it."""

ROTATION_CHUNK = 2_000
"""Cards re-sealed in one transaction at full rate: some tens of milliseconds of locks."""

ROTATION_RATE = 2_000
"""Cards per second when nobody says otherwise: payments hardly notice; a million: 9 minutes."""

ROTATION_REST = 14
"""A rotation at a set rate rests so many times as long as it worked: at most a fifteenth of the
time is its own, and payments at full load lose less than a tenth."""

ROTATION_LEASE_S = 15
"""A rotation whose process died goes on in another after this long."""

KEY_REFRESH_S = 1.0
"""How often a process asks whether keys changed: a rotation shows everywhere within a second."""

SUBJECT_KEY_CACHE_SIZE = 10_000
SUBJECT_KEY_CACHE_TTL_S = 60
"""Unwrapped keys of data subjects in memory: millions of people, few at a time; a destroyed key is
out of every process within a minute."""

SUBJECT_KEY_USES_BLOCK = 64
"""Seals of a person's key set aside at once: a few cards of two seals each."""

DATA_SUBJECT_MAX_CHARS = 100
"""A merchant's own reference of a customer: an id or an address of theirs."""

DATA_SUBJECT_CARDS_MAX = 1_000
"""Cards of one person that are looked at before an erasure."""

TOKEN_PURGE_GRACE_S = 3_600
"""How long the row of an expired token stays: a payment accepted in its last moment must be able
to end, recovery included. Longer than any attempt (REQUEST_TIMEOUT_S) and any clock difference."""

TOKEN_HOLD_MAX_S = 7 * 24 * 3600
"""Longest a payment that waits may keep an unsaved card: an authorization's life."""

TOMBSTONE_RETENTION_S = 400 * 24 * 3600
"""A removed token stays known as removed for 13 months; the journal keeps its entry for good."""

PURGE_BATCH = 250
"""Cards removed in one Change: bounded row locks."""

HOLDER_NAME_MAX_CHARS = 100
"""Schemes carry 26 characters; gateways take up to 100."""

CARD_YEARS_AHEAD_MAX = 25
"""Cards run ten years at most; further ahead is a typing error."""

CVC_HELD_MAX = 20_000
"""Security codes waiting in memory: more than the requests one process can have under way."""

FRESH_CARDS_MAX = 4_096
FRESH_CARD_TTL_S = 30
"""Sealed rows of cards just tokenized or described, kept for the forward that follows at once."""

EGRESS_CONNECTIONS_MAX = 128
"""Connections to one gateway host at once, busy and idle."""

EGRESS_IDLE_S = 20
"""An idle gateway connection is closed by us before most servers close it (60 s or more)."""

EGRESS_DNS_TTL_S = 30
"""How long checked addresses of a gateway are used without asking again."""

GATEWAY_HEAD_MAX_BYTES = 32_768
"""Status line and headers of a gateway's answer."""

REVEALS_PER_HOUR = 20
"""Clear card numbers one caller may see in a clock hour, over all processes: reveal is no export.
The same number stands in a CHECK of vault.reveal_hour, which no race can get past."""

BATCH_REVEAL_MAX = 1_000
"""Card numbers in one call: bounded memory, one read and one commit."""

REVEAL_ENTRY_TOKENS_MAX = 100
"""Tokens named by one journal entry of a batch: an entry stays below 4 kB."""

APPROVERS = 2
"""Custodians who must approve what one person must not do alone, the requester not counted."""

APPROVAL_TTL_S = 24 * 3600
"""A request is good for a day: longer ones are forgotten and then found by somebody else."""

APPROVAL_FRESH_S = 300
APPROVAL_CLOCK_SKEW_S = 30
"""A custodian's signature counts when it was made within five minutes before it arrives: key file
and passphrase were used just now. Clocks may differ by half a minute."""

APPROVAL_PAYLOAD_MAX_BYTES = 4_096
"""Canonical payload of a request: a few fields that people can read before they sign."""

APPROVALS_OPEN_MAX = 100
"""Requests that wait at a time; more cannot be read with care."""

CUSTODIANS_MAX = 16
"""The fewest necessary (PCI DSS 3.6.1.3), and no more than a key can have shares."""

CUSTODIANS_FOUNDING = 3
"""The first custodians of a live installation, enrolled together; later ones are approved."""

VAULT_FRAME_MAX_BYTES = 2 * 1024 * 1024
"""Largest message between a vault and its callers: a batch of 1,000 cards is below half of it."""

VAULT_CALLS_MAX = 1_024
"""Calls one process may have under way at its vault: as many as requests (concurrency_max)."""

VAULT_PEER_CALLS_MAX = 256
"""Calls on one connection that a vault works on at once; the others wait until some are done."""

VAULT_PEER_BYTES_MAX = 32 * 1024 * 1024
"""What the calls of one connection hold while some of them wait: some dozen of the largest."""

VAULT_CONNECTIONS_MAX = 256
"""Connections a vault takes: two from each process, with room for a rolling start."""

VAULT_CONNECT_TIMEOUT_MS = 3_000
"""Connection, handshake and greeting: a vault that starts again is back within this time."""

VAULT_CALL_TIMEOUT_MS = 8_000
"""Longest an ordinary call takes: a commit that waits (COMMIT_WAIT_MS) and its way."""

VAULT_FORWARD_GRACE_MS = 2_000
"""Added to a gateway call's own time: what the vault needs around it."""

VAULT_SILENCE_S = 6
"""A vault that answers no ping for so long is taken for dead and its connection closed."""

VAULT_CONNECTION_AGE_S = 600
"""A connection is replaced after ten minutes, so that renewed certificates come into use."""

CERTIFICATE_DAYS_MAX = 90
"""Longest life of a process's certificate: short enough that renewal is a habit."""

CLIENT_KEY_USE_S = 90 * 24 * 3600
CLIENT_KEY_OVERLAP_S = 30 * 24 * 3600
CLIENT_KEY_AHEAD_S = 7 * 24 * 3600
"""A client key is published 90 days, opens messages 30 days more, and its successor stands beside
it a week before: apps that keep the key document are never without a good key."""

CLIENT_KEYS_TTL_S = 30
CLIENT_KEYS_RELOAD_S = 1
"""How old the list of client keys may be; a kid that is not on it asks the database again, at most
once a second."""

CLIENT_KEYS_DOCUMENT_S = 24 * 3600
"""How long a client may keep the key document: far less than the week a new key is early."""

ENCRYPTED_CARD_MAX_CHARS = 8_192
"""A card encrypted with X-Wing is 2 kB; the rest is room for long names."""

ENCRYPTED_CARD_LIFE_S = 600
ENCRYPTED_CARD_SKEW_S = 60
"""A card is encrypted for one use within ten minutes; a client's clock may be a minute ahead."""

ENCRYPTED_CARD_REMEMBERED_S = 3_600
"""How long after its end a used message is remembered: longer than clocks of nodes ever differ."""

ENCRYPTED_BATCH_MAX = 100
"""Encrypted cards in one call: opening one costs as much as sealing dozens."""

SCAN_CHUNK_BYTES = 1_048_576
"""What the leak hunt reads at once: memory stays flat whatever a file's size."""

SCAN_ARCHIVE_DEPTH = 4
SCAN_MEMBERS_MAX = 100_000
SCAN_UNPACKED_RATIO = 250
SCAN_UNPACKED_FREE_BYTES = 64 * 1024 * 1024
"""Archives in archives, their members, and bytes unpacked for each byte of the file (and 64 MiB
more): above all honest logs and backups, below what a decompression bomb needs."""

SCAN_HELD_BYTES = 64 * 1024 * 1024
"""A zip inside an archive is held in memory to be read, never on disk; a larger one is told as
not read."""

SCAN_DIRECTORY_BYTES = 32 * 1024 * 1024
"""Table of contents of a zip file: 100,000 members need about 10 MiB."""

FINDING_TEXT_MAX_CHARS = 500
"""Place, reason, source and fix of a finding: sentences, not documents."""

SHARES_THRESHOLD_MIN = 2
SHARES_MAX = 16
SHARES_DEFAULT = (3, 5)
"""Shares of a root: one person alone is no split knowledge, and more than 16 are not kept well."""

UNSEAL_SESSION_S = 3_600
"""How long a waiting process keeps shares before it has enough: an hour, then all begin anew."""

UNSEAL_MESSAGE_MAX_BYTES = 16_384
UNSEAL_CONNECTION_S = 10
"""One message on the unseal socket, and how long a connection may take: answers are 1 kB."""

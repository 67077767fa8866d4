"""Every bound of callers, their credentials and the edge, each with its reason."""

from __future__ import annotations

REPLAY_VALUE_MAX_BYTES = 4_096
"""Longest value that may be used once: a whole signed assertion is about 1 kB."""

REPLAY_LIFETIME_MAX_S = 7 * 24 * 3600
"""Longest time a use is remembered: nonces and proofs live minutes, nothing lives a week."""

REPLAY_KEPT_AFTER_S = 600
"""Uses are kept beyond their expiry: clocks of processes may differ, and steps back happen."""

REPLAY_PURGE_MAX = 20_000
"""Expired uses deleted in one round: a tenth of a second of work, at most."""

OUTBOUND_URL_MAX_CHARS = 2_048
"""Longest URL that is called; what every HTTP server takes."""

OUTBOUND_ADDRESSES_MAX = 32
"""Addresses behind one name: large services show eight; each is checked."""

OUTBOUND_CONNECTIONS_MAX = 64
"""Calls at once that one client makes; more would let a slow host hold the process's sockets."""

OUTBOUND_TIMEOUT_S = 10.0
"""How long one call may take, its name's resolution included."""

OUTBOUND_ANSWER_MAX_BYTES = 262_144
"""Largest answer that is read unless the caller says less: key sets and tokens are a few kB."""

OUTBOUND_BODY_MAX_BYTES = 262_144
"""Largest body that is sent: nothing that we send is larger."""

COUNTERS_KEPT = 20_000
"""Counters that one process remembers: more callers than it meets in a second."""

COUNTERS_TIMEOUT_S = 1.0
"""Longest wait for the shared counters; after it a process counts by itself."""

COUNTERS_AWAY_S = 2.0
"""How long a process counts by itself before it asks the shared counters again."""

COUNTERS_BATCH_MAX = 256
"""Counters asked for in one call: a few milliseconds of row locks."""

VALKEY_CONNECTIONS_MAX = 4
"""Connections of one process to Valkey: calls are short and share batches."""

LEASE_S = 1.0
"""How long units taken ahead are kept before the unused ones are given back."""

# --- operators ---

OPERATOR_TRIES_MAX = 10
"""Tries with a password or a code before an account rests (PCI DSS 8.3.4)."""

OPERATOR_LOCK_MINUTES = 30
"""How long it rests then (PCI DSS 8.3.4)."""

OPERATOR_SOURCE_TRIES_MAX = 30
"""Failed tries of one unknown source over all logins in the same time: an office behind one address
makes fewer, and spraying one password over many accounts makes more."""

SESSION_IDLE_MINUTES = 15
"""A session that rests longer is over (PCI DSS 8.2.8)."""

SESSION_HOURS = 12
"""No session outlives a working day (NIST SP 800-63B 4.2.3)."""

INVITATION_HOURS = 72
"""A weekend long: an unused way in must not lie around for more."""

RECOVERY_HOURS = 24
"""How long the second administrator may take, and then the person with the new enrollment."""

OPERATOR_IDLE_DAYS = 90
"""An account that nobody used for longer is closed (PCI DSS 8.2.6)."""

CEREMONY_S = 300
"""Seconds to finish what a challenge began: time to find a key, not to relay it."""

STEP_UP_S = 300
"""Seconds for which a proof of being there counts for its purpose."""

CEREMONY_BYTES_MAX = 16_384
"""What a browser answers to a challenge is 2 kB; attestations that nobody asked for are longer."""

PASSKEYS_MAX = 10
"""Passkeys of one person: a few devices and a spare."""

OPERATORS_MAX = 10_000
"""Accounts: the people who run one installation, with every leaver of its history."""

PASSWORD_CHARS_MIN = 12
"""PCI DSS 8.3.6."""

PASSWORD_CHARS_MAX = 128
"""Longer phrases add nothing and would be a way to make us work."""

PASSWORDS_BARRED = 4
"""Former passwords that may not be taken again (PCI DSS 8.3.7)."""

PASSWORD_HASHES_AT_ONCE = 2
"""Each takes 19 MiB and a core for 20 ms; more at once would slow everything else down."""

PASSWORD_HASHES_WAITING = 64
"""About a second of work; who comes then is told to come back."""

TLS_FILES_LOOK_S = 1.0
"""How often certificate files are looked at while connections come: renewal shows in a second."""

HANDSHAKE_TIMEOUT_S = 5.0
"""How long a TLS handshake may take: honest ones take two round trips."""

SETTING_MAX_CHARS = 2_048
"""Longest text in the settings: the longest honest one is a URL."""

STALLED_MAX_MS = 30_000
"""How long the kernel lets what was sent lie unread before it ends a connection."""

HANDSHAKES_MAX = 256
"""Handshakes at once in one process; beyond that the slowest is dropped for the newest."""

SOURCE_CONNECTIONS_MAX = 512
"""Connections of one address (IPv6: one /64) to one process; trusted proxies may have more."""

CONNECTIONS_MAX = 10_000
"""Connections to one process: each costs some 50 kB while it is served."""

ADDRESS_AT_ONCE_MAX = 64
"""Requests under way in one process that one address (IPv6: one /64) may have without a secret."""

OPEN_AT_ONCE_MAX = 512
"""The same from all addresses: half of what a process takes, so that slow bodies from anywhere
leave room for those who have a secret."""

DESCRIPTORS_KEPT = 256
"""Descriptors that connections never take: databases, gateways, files."""

FORWARDED_MAX_BYTES = 2_048
FORWARDED_HOPS_MAX = 16
"""What a chain of proxies may write; the longest honest chains have five hops."""

CLIENT_CERT_HEADER_MAX_BYTES = 8_192
"""A client certificate handed on by a proxy: 1 to 3 kB in base64."""
# --- four eyes, emergencies, access reviews ------------------------------------------------------

FOUR_EYES_TTL_S = 15 * 60
FOUR_EYES_TTL_MIN_S = 60
FOUR_EYES_TTL_MAX_S = 60 * 60
"""What was asked for is done within minutes, while the person who approved remembers it; nothing
that waits longer than an hour is still the same situation."""

FOUR_EYES_OPEN_MAX = 500
FOUR_EYES_OPEN_EACH_MAX = 20
"""Requests that wait, of everybody and of one requester: more are approved without being read."""

FOUR_EYES_AGAIN_S = 24 * 60 * 60
"""A request that is sent again under its idempotency key finds its approval for a day: long before
the key itself is forgotten, after which it would do the work a second time."""

FOUR_EYES_PARAMETERS_MAX_BYTES = 48 * 1024
"""The parameters of one action: a thousand tokens of thirty characters with room to spare."""

BREAK_GLASS_MINUTES_MAX = 60
BREAK_GLASS_PER_DAY = 3
"""Emergency access ends within the hour; who needs it more often has another problem."""

BREAK_GLASS_REVIEW_HOURS = 72
"""By then another administrator has looked at it, a weekend included."""

BREAK_GLASS_KNOWN_S = 1.0
"""What a process knows of open emergencies is a second old at most; the end is exact."""

ACCESS_REVIEW_EVERY_DAYS = 180
ACCESS_REVIEW_DUE_DAYS = 30
"""Every right is looked at twice a year (PCI DSS 7.2.4); a month is enough to decide."""

STEP_UP_AAL_MIN = 2
"""Approving takes a second factor at least (PCI DSS 8.4.2)."""

KEY_NETWORKS_MAX = 50
"""Networks of one key: more is a list that nobody reviews."""

KEY_OVERLAP_MIN_S = 60
KEY_OVERLAP_MAX_S = 30 * 24 * 3600
"""How long a replaced key goes on working: time to hand the new one out, not to forget it."""

KEY_IDLE_MAX_DAYS = 90
"""Keys idle for so long are disabled (PCI DSS 8.2.6)."""

KEY_IDLE_WARN_DAYS = 60
KEY_EXPIRY_WARN_DAYS = 14
"""From when on the report warns: two weeks are enough to rotate, a month to notice."""

KEY_IDLE_BATCH = 100
"""Idle keys disabled in one round of the worker."""

SIGNATURE_WINDOW_MAX_S = 300
"""Longest life of a signed request: a retry is signed anew."""

SIGNATURE_SKEW_S = 30
"""How far the clocks of a merchant and of ours may differ."""

SIGNATURE_INPUT_MAX_CHARS = 1_024
SIGNATURE_COMPONENTS_MAX = 16
"""An honest signature names about eight parts in 400 characters."""

LEAK_PARTNER_KEYS_MAX = 20
"""Public keys of a partner: one in use and a few former ones."""

LEAK_TOKENS_MAX = 100
LEAK_TOKENS_OF_STRANGERS_MAX = 10
"""Keys in one report; a stranger who holds more of ours sends more reports."""

LEAK_REPORT_MAX_BYTES = 65_536
"""A hundred tokens with the addresses where they were found."""


OIDC_LOGIN_S = 600
"""How long a person may take at the identity provider, second factor and all."""

OIDC_SKEW_S = 60
"""How far a provider's clock may be from ours; more hides expired tokens."""

OIDC_DOCUMENT_MAX_BYTES = 131_072
"""Discovery documents are about 5 kB, key sets with certificate chains about 20 kB."""

OIDC_TOKEN_MAX_CHARS = 32_768
"""An ID token with some hundred groups is about 16 kB."""

OIDC_KEYS_MAX = 64
"""Providers publish two to ten keys; each is looked at for every token without a key id."""

OIDC_KEPT_S = 900
"""How long a discovery document and a key set are believed: a withdrawn key ends within it."""

OIDC_REFRESH_S = 30
"""An unknown key id fetches the key set anew at most so often: a forger cannot make us ask."""

OIDC_TIMEOUT_S = 5.0
"""How long one request to a provider may take; a person waits for up to three."""

OIDC_CODE_MAX_CHARS = 2_048
"""Codes are opaque; real ones have up to about 1,500 characters."""

OIDC_LINKS_MAX = 5
"""Identities that one operator may link: a few providers over the years, no more."""

CONSOLE_FORM_MAX_BYTES = 65_536
"""A new passkey with a long chain of attestation is about 10 kB, form-encoded twice that."""

CONSOLE_QUERY_MAX_BYTES = 4_000
"""A code of an identity provider may have 2,000 characters; the URL itself may have 4,096."""

CONSOLE_CONCURRENCY_MAX = 64
"""People click; a process that makes more pages at once is being flooded."""

CONSOLE_STRANGERS_MAX = 32
CONSOLE_STRANGERS_EACH_MAX = 8
"""Forms of people who are not signed in that arrive at once: in all, half of the above, and from
one address (IPv6: one /64). A form is one packet or two; only those that drip in fill this."""

CONSOLE_FORM_TIMEOUT_S = 5.0
"""How long such a form may take to arrive."""

CONSOLE_TIMEOUT_S = 20.0
"""A sign-in may wait for an identity provider three times five seconds."""

OAUTH_TOKEN_LIFETIME_S = 300
"""Life of an access token: short enough that a missed revocation ends by itself (RFC 9700)."""

OAUTH_ASSERTION_LIFETIME_MAX_S = 300
"""Longest life of a client's assertion; its id is remembered for as long."""

OAUTH_CLOCK_SKEW_S = 10
"""How far a client's clock may be ahead of ours (FAPI 2.0 section 5.3.2.1: at least 10 s)."""

OAUTH_JWT_MAX_BYTES = 4_096
"""Longest assertion, proof or token: a proof with an RSA key of 4096 bits has below 3 kB."""

OAUTH_JWT_BRACKETS_MAX = 12
"""Objects and lists in one part of a JWT: an honest one has three."""

OAUTH_TEXT_MAX_CHARS = 256
"""Longest id, nonce or address inside an assertion or proof, but for URLs."""

OAUTH_FORM_MAX_BYTES = 16_384
OAUTH_FORM_FIELDS_MAX = 32
"""A request for a token has six fields and below 6 kB."""

OAUTH_CLIENT_KEYS_MAX = 4
"""Keys of one client that are good at the same time: one, and its successor twice over."""

OAUTH_CLIENT_JWKS_MAX_BYTES = 32_768
"""Largest JWKS that a client is registered with."""

OAUTH_CLIENT_DAYS = 365
OAUTH_CLIENT_DAYS_MAX = 1_096
"""Life of a client's registration: somebody answers for it anew each year (PCI DSS 8.6.3)."""

OAUTH_KEY_OVERLAP_DAYS_MAX = 30
"""Longest time a replaced client key stays good beside its successor."""

OAUTH_TOKENS_KEPT_S = 600
OAUTH_TOKENS_PURGE_MAX = 20_000
"""Rows of tokens stay so long past their end, and so many are deleted in one round."""

DPOP_PROOF_AGE_S = 60
"""How old a DPoP proof may be; its id is remembered for as long (RFC 9449 section 11.1)."""

DPOP_NONCE_STEP_S = 60
"""How long one server nonce is handed out; the one before it is taken too."""

RSA_BITS_MIN = 2_048
RSA_BITS_MAX = 4_096
"""RSA keys of clients: below is weak (SP 800-131A), above costs us more than its sender."""

TOKEN_KEY_USE_S = 90 * 24 * 3600
TOKEN_KEY_AHEAD_S = 7 * 24 * 3600
TOKEN_KEY_OVERLAP_S = 2 * OAUTH_TOKEN_LIFETIME_S
TOKEN_KEY_KEPT_S = 24 * 3600
"""A key that signs access tokens signs for 90 days less a week, verifies until the last token it
signed is over, and is destroyed a day later."""
# --- certificates of services ---

SVID_LIFE_S = 3_600.0
"""How long a service's certificate is good: what is stolen is worth an hour at most."""

SVID_LIFE_MIN_S = 5.0
SVID_LIFE_MAX_S = 24 * 3_600.0
"""What settings may say of it: rotation needs seconds, and a day is no short life any more."""

JOIN_TOKEN_MINUTES_MAX = 24 * 60
"""Longest a join token waits for its use: a host that is set up today is set up within a day."""

RETURN_DAYS_MAX = 7
"""How long after its expiry the key of a certificate still proves its holder: a long weekend's
outage of the vault needs no visit to every host."""

AUTHORITY_OVERLAP_S = 60.0
"""How long a new authority is trusted before it signs: every process looks each second."""

REVOKED_CERTIFICATES_MAX = 100_000
"""Revoked and not yet expired certificates that are compared with; with lives of an hour there are
few. Past it nobody is let in."""

TRUST_AGE_MAX_S = 0.5
"""How old what is known of revocations may be: with its reading it shows within a second."""

JOIN_CONNECTIONS_MAX = 32
"""Connections at once to the face that gives certificates; each is a few milliseconds of work."""

JOIN_LINE_MAX_BYTES = 16_384
"""Longest message there: a request, a certificate and a signature in base64 are about 3 kB."""

JOIN_TIMEOUT_S = 5.0
"""How long one exchange there may take, its handshake included."""

VAULT_HANDSHAKES_MAX = 128
"""TLS handshakes of a listener at once: one that stalls holds one of these, for seconds."""

CERTIFICATE_WARN_SHARE = 4
"""A certificate with less than one in so many parts of its life left was not renewed: an alarm."""

AUTHORITY_WARN_DAYS = 90
"""An authority whose certificate ends within so many days should be rotated."""

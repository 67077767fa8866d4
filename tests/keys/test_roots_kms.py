"""Bad days of AWS KMS: denied, throttled, disabled, silent; on moto and on hostile servers."""

from __future__ import annotations

import time

import msgspec
import pytest

from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.secret import Secret
from strongroom.keys import RootProvider
from strongroom.keys.roots import AwsKmsSpec, create_root
from strongroom.keys.roots.aws_kms import KmsBackend, _context
from tests.keys.roots_house import HERE, Counterparts, real
from tests.support.hostile import Hostile, http_answer
from tests.support.kms import REGION

__all__ = ["real"]
KEY = Secret(b"k" * 32)


def kms_root(real: Counterparts, **options: object) -> tuple[AwsKmsSpec, RootProvider]:
    spec = real.made("aws-kms", **options)
    assert isinstance(spec, AwsKmsSpec)
    return spec, real.open(spec)


def refused(real: Counterparts, spec: AwsKmsSpec, **options: object) -> StrongroomError:
    with pytest.raises(StrongroomError) as failed:
        real.open(spec, **options)
    return failed.value


def error(code: str) -> bytes:
    body = f'{{"__type":"{code}","message":"no"}}'.encode()
    return http_answer(400, body, "Content-Type: application/x-amz-json-1.1")


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("ThrottlingException", "root_unavailable"),
        ("KMSInternalException", "root_unavailable"),
        ("DependencyTimeoutException", "root_unavailable"),
        ("AccessDeniedException", "root_access_denied"),
        ("ExpiredTokenException", "root_access_denied"),
        ("NotFoundException", "root_key_refused"),
        ("DisabledException", "root_key_refused"),
    ],
)
def test_each_refusal_of_kms_has_its_meaning(real: Counterparts, code: str, expected: str) -> None:
    spec, _ = kms_root(real)
    with Hostile(error(code)) as server:
        failed = refused(real, msgspec.structs.replace(spec, endpoint_url=server.url))
        assert failed.code == expected, failed
        assert failed.retryable == (expected == "root_unavailable")
        assert server.asked <= 3, "retries have a bound"


def test_throttling_is_tried_again_a_few_times(real: Counterparts) -> None:
    spec, _ = kms_root(real)
    with Hostile(error("ThrottlingException")) as server:
        refused(real, msgspec.structs.replace(spec, endpoint_url=server.url))
        assert server.asked == 3


@pytest.mark.parametrize(
    "answer",
    [
        http_answer(200, b"not json"),
        http_answer(200, b"{}"),
        http_answer(500, b""),
        b"",
        b"SSH\r\n",
    ],
    ids=lambda answer: repr(answer[-12:]),
)
def test_an_answer_that_is_not_understood_is_no_key(real: Counterparts, answer: bytes) -> None:
    spec, _ = kms_root(real)
    with Hostile(answer) as server:
        failed = refused(real, msgspec.structs.replace(spec, endpoint_url=server.url))
        assert failed.code in ("root_unavailable", "root_key_refused"), failed


def test_a_silent_kms_is_given_up(real: Counterparts) -> None:
    spec, _ = kms_root(real)
    with Hostile(None) as server:
        silent = msgspec.structs.replace(spec, endpoint_url=server.url, timeout_s=1.0)
        began = time.monotonic()
        assert refused(real, silent).code == "root_unavailable"
        assert time.monotonic() - began < 4


async def test_a_disabled_key_is_refused_and_comes_back(real: Counterparts) -> None:
    spec, root = kms_root(real)
    wrapped = await root.wrap(KEY, aad=b"a")
    client = real.kms.client()
    key_id = spec.key_arn.rsplit("/", 1)[1]
    client.disable_key(KeyId=key_id)
    assert refused(real, spec).code == "root_key_refused"
    client.enable_key(KeyId=key_id)
    assert (await real.open(spec).unwrap(wrapped, aad=b"a")).matches(KEY)
    client.schedule_key_deletion(KeyId=key_id, PendingWindowInDays=7)
    assert refused(real, spec).code == "root_key_refused"


async def test_the_additional_data_is_only_shown_as_a_hash(real: Counterparts) -> None:
    shown = _context(b"mer_01k00000000000000000000000")
    assert "mer_" not in str(shown) and set(shown) == {"strongroom", "aad_sha256"}


def test_a_key_of_another_kind_is_refused(real: Counterparts) -> None:
    made = real.kms.client().create_key(KeyUsage="SIGN_VERIFY", KeySpec="RSA_2048")
    with pytest.raises(StrongroomError, match="root_key_refused"):
        real.made("aws-kms", key_arn=made["KeyMetadata"]["Arn"])


@pytest.mark.parametrize(
    "arn",
    ["alias/root", "1234abcd-12ab-34cd-56ef-1234567890ab",
     "arn:aws:kms:eu-central-1:123456789012:alias/root"],
)  # fmt: skip
def test_only_a_whole_arn_names_a_key(real: Counterparts, arn: str) -> None:
    with pytest.raises(StrongroomError, match="root_misconfigured"):
        real.made("aws-kms", key_arn=arn)


def test_an_endpoint_of_ones_own_is_for_test_mode_here(
    real: Counterparts, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, _ = kms_root(real)
    for url in ("http://192.0.2.1", "http://kms.example", "nothing"):
        failed = refused(real, msgspec.structs.replace(spec, endpoint_url=url))
        assert failed.code == "root_misconfigured"
    for name in ("AWS_ENDPOINT_URL_KMS", "AWS_ENDPOINT_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    client = KmsBackend(msgspec.structs.replace(spec, endpoint_url=None), mode="live")._client()
    assert client.meta.endpoint_url == f"https://kms.{REGION}.amazonaws.com"


def test_a_key_is_made_when_none_is_named(real: Counterparts) -> None:
    asked = AwsKmsSpec(region=REGION, endpoint_url=real.kms.endpoint)
    with pytest.raises(StrongroomError, match="root_misconfigured"):
        create_root(
            AwsKmsSpec(endpoint_url=real.kms.endpoint),
            mode="test", installation=HERE, folder=real.folder,
        )  # fmt: skip
    made = create_root(asked, mode="test", installation=HERE, folder=real.folder)
    assert isinstance(made, AwsKmsSpec) and made.key_arn.startswith("arn:aws:kms:")
    assert real.open(made).mode == "test"


def test_no_credentials_is_told(real: Counterparts, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, _ = kms_root(real)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    assert refused(real, spec).code == "root_access_denied"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    absent = msgspec.structs.replace(spec, profile="absent")
    assert refused(real, absent).code in ("root_unavailable", "root_access_denied")

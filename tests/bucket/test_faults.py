"""Each way a store has been seen to misbehave ends in the right bytes or in a clear sentence, never in silence."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fleetfuel import errors
from fleetfuel.feed import bucket, deliver, download
from fleetfuel.model.files import Delivery
from fleetfuel.settings import Settings

from . import misbehaving_proxy as faults
from .conftest import FEW, MANY, SNAPSHOT, Witness, feed
from .misbehaving_proxy import Fault, Proxy, misbehaving_proxy

pytestmark = pytest.mark.usefixtures("hasty")

REACHED = [key for key in feed(FEW) if "T07-" in key]
"""Change files that a fault "at 07:00" befalls: those spelt with hyphens."""


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("fleetfuel")]


def bodies(delivery: Delivery) -> dict[str, bytes]:
    return {each.key.removeprefix("few/changes/"): bytes(each.content) for each in delivery.files}


def without(missing: list[str]) -> dict[str, bytes]:
    return {key: body for key, body in feed(FEW).items() if key not in missing}


# --- listings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        faults.no_continuation_token,
        faults.inclusive_start_after,
        faults.false_is_truncated,
        faults.empty_page_between,
        faults.page_out_of_order,
        faults.truncated_listing,
        faults.flaky_500,
        faults.no_etag,
    ],
)
def test_a_listing_is_complete_in_spite_of(fault: Fault, seaweed: Witness, proxy: Proxy) -> None:
    settings = replace(seaweed.many, endpoint=proxy.endpoint)
    with proxy.misbehave(fault):
        listing = deliver.list_changes(settings)
    assert [each.key for each in listing.files] == [f"many/changes/{key}" for key in feed(MANY)]
    assert len({(each.key, each.etag) for each in listing.files}) == MANY
    assert sum(proxy.asked.values()) <= 9


@pytest.mark.parametrize(
    ("fault", "requests"),
    [
        (faults.always_truncated, 9),
        (faults.same_page_again, 9),
        (faults.same_page_with_new_tokens, bucket.FRUITLESS_PAGES + 9),
    ],
)
def test_a_listing_that_does_not_get_on_is_an_error(
    fault: Fault, requests: int, seaweed: Witness, proxy: Proxy
) -> None:
    settings = replace(seaweed.many, endpoint=proxy.endpoint)
    with proxy.misbehave(fault), pytest.raises(errors.BucketUnavailable, match="says that more follows") as caught:
        deliver.list_changes(settings)
    assert caught.value.exit_code == 69
    assert sum(proxy.asked.values()) <= requests


# --- bodies, the right bytes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        faults.listed_key_404_twice,
        faults.no_etag,
        faults.flaky_500,
        faults.slow_drip,
        faults.reset_in_mid_body,
        faults.corrupted_once,
        faults.ignores_ranges,
    ],
)
def test_changes_and_snapshot_arrive_whole_in_spite_of(fault: Fault, through: Settings, proxy: Proxy) -> None:
    with proxy.misbehave(fault):
        listing = deliver.list_changes(through)
        with deliver.fetch_changes(through, listing.files) as delivery:
            assert bodies(delivery) == feed(FEW)
            assert delivery.unreadable == ()
            assert delivery.notices == ()
            listed = {each.key: each.etag for each in listing.files}
            assert {each.key: each.etag for each in delivery.files} == listed
        with deliver.fetch_snapshot(through) as delivery:
            assert bytes(delivery.files[0].content) == SNAPSHOT


def test_without_etags_the_snapshot_is_known_by_its_content(through: Settings, proxy: Proxy) -> None:
    with (
        proxy.misbehave(faults.no_etag),
        deliver.fetch_snapshot(through) as first,
        deliver.fetch_snapshot(through) as second,
    ):
        assert first.files[0].etag == second.files[0].etag
        assert first.files[0].etag.startswith("xxh3-")


def test_an_etag_that_is_no_hash_of_the_bytes_is_noticed(through: Settings, proxy: Proxy) -> None:
    with proxy.misbehave(faults.foreign_etag), deliver.fetch_snapshot(through) as delivery:
        assert bytes(delivery.files[0].content) == SNAPSHOT
        assert delivery.notices == (
            "few/latest.json: its ETag, 0123456789abcdef0123456789abcdef, is not the MD5 of its bytes",
        )


# --- bodies, one file lost ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (faults.listed_key_404, "it is listed, and asking for it answers 404"),
        (faults.empty_truncated_body, r"its body breaks off after 0 of \d+ bytes \(the connection was closed early\)"),
        (faults.shortened_body, r"its body has \d+ bytes but the listing says \d+"),
        (faults.corrupted_anew, r"its bytes do not match its ETag \w{32}, and differ from one download to the next"),
        (faults.denied_at_seven, r"the keys do not allow it \(AccessDenied\)"),
        (faults.unavailable_at_seven, "it answers 503 ServiceUnavailable, 3 times"),
    ],
)
def test_a_file_that_cannot_be_had_costs_the_others_nothing(
    fault: Fault, reason: str, through: Settings, proxy: Proxy
) -> None:
    with proxy.misbehave(fault):
        listing = deliver.list_changes(through)
        with deliver.fetch_changes(through, listing.files) as delivery:
            assert bodies(delivery) == without(REACHED)
            lost = {each.key: each for each in delivery.unreadable}
    assert [key.removeprefix("few/changes/") for key in lost] == REACHED
    for listed in listing.files:
        if listed.key in lost:
            each = lost[listed.key]
            assert (each.etag, each.at, each.is_lasting) == (listed.etag, listed.at, False)
            assert re.fullmatch(reason, each.reason), each.reason


def test_a_body_that_always_breaks_off_is_an_error_naming_how_far_it_came(through: Settings, proxy: Proxy) -> None:
    with (
        proxy.misbehave(faults.truncated_body),
        pytest.raises(errors.BadInput, match=r"^few/latest\.json: its body breaks off after \d+ of 74 bytes") as caught,
        deliver.fetch_snapshot(through),
    ):
        pass
    assert caught.value.exit_code == 65


def test_a_body_that_only_trickles_is_given_up(
    through: Settings, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "STALL_SECONDS", 0.3)
    monkeypatch.setattr(download, "RESUMPTIONS", 2)
    with (
        proxy.misbehave(faults.trickle),
        pytest.raises(errors.BadInput, match=r"bytes \(it stopped arriving\)"),
        deliver.fetch_snapshot(through),
    ):
        pass


def test_an_object_that_changes_in_mid_download_is_begun_anew(
    through: Settings, seaweed: Witness, proxy: Proxy
) -> None:
    seaweed.put("shifty/latest.json", b"a" * 1000)

    def change_once(proxy: Proxy, asked: faults.Asked, answer: faults.Answer) -> faults.Answer:
        if asked.nth == 1 and asked.is_body:
            answer.cut_after = 500
            seaweed.put("shifty/latest.json", b"b" * 1000)
        return answer

    with proxy.misbehave(change_once), deliver.fetch_snapshot(replace(through, prefix="shifty/")) as delivery:
        assert bytes(delivery.files[0].content) == b"b" * 1000


def test_an_object_that_keeps_changing_is_an_error(through: Settings, seaweed: Witness, proxy: Proxy) -> None:
    seaweed.put("shifty/latest.json", b"a" * 1000)

    def change(proxy: Proxy, asked: faults.Asked, answer: faults.Answer) -> faults.Answer:
        if asked.is_body and answer.status == 200:
            answer.cut_after = 500
            seaweed.put("shifty/latest.json", b"%d" % time.monotonic_ns() * 80)
        return answer

    with (
        proxy.misbehave(change),
        pytest.raises(errors.BadInput, match="it changed while it was read, 3 times"),
        deliver.fetch_snapshot(replace(through, prefix="shifty/")),
    ):
        pass


def test_a_store_that_refuses_every_object_is_an_error(through: Settings, proxy: Proxy) -> None:
    with proxy.misbehave(faults.denied_403):
        listing = deliver.list_changes(through)
        with (
            pytest.raises(errors.PermissionDenied, match=r"s3://fuel/few/.* was refused: the keys do not allow it"),
            deliver.fetch_changes(through, listing.files),
        ):
            pass
    with (
        proxy.misbehave(faults.lasting_503),
        pytest.raises(errors.BucketUnavailable, match="503"),
        deliver.fetch_changes(through, listing.files[:3]),
    ):
        pass


def test_progress_ends_at_the_whole_although_bodies_break_off(through: Settings, proxy: Proxy) -> None:
    reported: list[tuple[int, int]] = []
    with proxy.misbehave(faults.corrupted_once):
        listing = deliver.list_changes(through)
        with deliver.fetch_changes(through, listing.files, lambda done, total: reported.append((done, total))):
            pass
    total = sum(map(len, feed(FEW).values()))
    assert reported[-1] == (total, total)


# --- the door is closed -------------------------------------------------------------------------------------------


def test_clock_skew_is_reported_with_its_size(through: Settings, proxy: Proxy) -> None:
    with (
        proxy.misbehave(faults.clock_skew_403),
        pytest.raises(errors.PermissionDenied, match=r"too far apart \(this one is 40 minutes ahead\)") as caught,
    ):
        deliver.list_changes(through)
    assert caught.value.exit_code == 77
    assert "NTP" in str(caught.value)


@pytest.mark.parametrize("fault", [faults.wrong_region_400, faults.permanent_redirect_301])
def test_a_wrong_region_is_reported_as_such(fault: Fault, through: Settings, proxy: Proxy) -> None:
    with (
        proxy.misbehave(fault),
        pytest.raises(errors.ConfigurationError, match=r"^RUSTFS_REGION, 'us-east-1', is not the region") as caught,
    ):
        deliver.list_changes(through)
    assert caught.value.exit_code == 78


def test_a_console_that_is_no_s3_server_is_reported_as_such(through: Settings, proxy: Proxy) -> None:
    with proxy.misbehave(faults.console_instead_of_s3):
        for read in (
            deliver.list_changes,
            deliver.look_at_snapshot,
            lambda each: deliver.fetch_snapshot(each).__enter__(),
        ):
            with pytest.raises(errors.BucketUnavailable, match="RUSTFS_ENDPOINT the S3 port"):
                read(through)


def test_a_gateway_that_cannot_reach_the_store_is_reported_as_such(through: Settings, proxy: Proxy) -> None:
    with proxy.misbehave(faults.gateway_502), pytest.raises(errors.BucketUnavailable, match="502 with a web page"):
        deliver.list_changes(through)


def test_a_redirect_is_reported_with_where_it_points(through: Settings, proxy: Proxy) -> None:
    with (
        proxy.misbehave(faults.redirect_302),
        pytest.raises(errors.ConfigurationError, match=r"^RUSTFS_ENDPOINT, .*302.*\nIt points to https://s3\.example:"),
    ):
        deliver.list_changes(through)
    assert sum(proxy.asked.values()) == 1


def test_nobody_listening_is_reported_at_once(through: Settings) -> None:
    settings = replace(through, endpoint="http://127.0.0.1:9")
    with pytest.raises(errors.BucketUnavailable, match=r"nothing listens on that port.*\nTried http://127\.0\.0\.1:9"):
        deliver.list_changes(settings)


def test_a_name_that_is_unknown_is_reported(through: Settings) -> None:
    with pytest.raises(errors.BucketUnavailable, match="the name of its host is unknown"):
        deliver.list_changes(replace(through, endpoint="http://bucket.invalid"))


def test_a_bucket_name_that_s3_does_not_allow_is_a_setting_to_mend(through: Settings) -> None:
    with pytest.raises(errors.ConfigurationError, match="RUSTFS_BUCKET, 'fuel/records'"):
        deliver.list_changes(replace(through, bucket="fuel/records"))


@pytest.mark.parametrize(
    ("lacks", "name"),
    [
        ("endpoint", "RUSTFS_ENDPOINT"),
        ("access_key", "RUSTFS_ACCESS_KEY"),
        ("secret_key", "RUSTFS_SECRET_KEY"),
    ],
)
def test_a_setting_that_lacks_is_named(lacks: str, name: str, through: Settings) -> None:
    with pytest.raises(errors.MissingSetting, match=f"^{name} is not set"):
        deliver.list_changes(replace(through, **{lacks: None}))  # type: ignore[arg-type]


OF_BOTOCORE = {
    "AWS_RETRY_MODE": "none of them",
    "AWS_MAX_ATTEMPTS": "many",
    "AWS_DEFAULTS_MODE": "in-region",
    "AWS_USE_FIPS_ENDPOINT": "true",
    "AWS_USE_DUALSTACK_ENDPOINT": "true",
    "AWS_S3_US_EAST_1_REGIONAL_ENDPOINT": "legacy",
    "AWS_REQUEST_CHECKSUM_CALCULATION": "when_supported",
    "AWS_AUTH_SCHEME_PREFERENCE": "sigv4a",
    "AWS_SIGV4A_SIGNING_REGION_SET": "*",
    "AWS_SDK_UA_APP_ID": "\n",
    "AWS_DATA_PATH": "/nowhere",
    "AWS_CONFIG_FILE": "/nowhere",
    "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
    "REQUESTS_CA_BUNDLE": "/nowhere",
    "CURL_CA_BUNDLE": "/nowhere",
    "BOTO_CONFIG": "/nowhere",
}


def test_credentials_and_profiles_come_from_the_settings_alone(
    through: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION"):
        monkeypatch.setenv(name, "somebody-else")
    for name in ("AWS_ENDPOINT_URL", "AWS_CA_BUNDLE"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/nowhere")
    for name, value in OF_BOTOCORE.items():
        monkeypatch.setenv(name, value)
    assert len(deliver.list_changes(through).files) == FEW


# --- TLS ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that vouches for itself, with its key, in one file."""
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    return path


def test_tls_is_verified_and_another_authority_can_be_trusted(
    seaweed: Witness, certificate: Path, tmp_path: Path
) -> None:
    assert seaweed.settings.endpoint
    bundle = tmp_path / "bundle.pem"
    bundle.write_text(certificate.read_text().split("-----BEGIN PRIVATE")[0])
    with misbehaving_proxy(seaweed.settings.endpoint, certificate) as proxy:
        settings = replace(seaweed.under("few/"), endpoint=proxy.endpoint)
        with pytest.raises(errors.BucketUnavailable, match="its TLS certificate is not trusted") as caught:
            deliver.list_changes(settings)
        assert "RUSTFS_CA_BUNDLE" in str(caught.value)
        assert len(deliver.list_changes(replace(settings, ca_bundle=bundle)).files) == FEW


def test_tls_to_a_port_that_does_not_speak_it_is_reported(through: Settings) -> None:
    assert through.endpoint
    with pytest.raises(errors.BucketUnavailable, match="does not speak TLS on that port: is its URL http://"):
        deliver.list_changes(replace(through, endpoint=through.endpoint.replace("http:", "https:")))


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_bundle_that_cannot_be_used_is_reported_by_its_path(
    content: str | None, through: Settings, tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle.pem"
    if content is not None:
        bundle.write_text(content)
    with pytest.raises(errors.ConfigurationError, match=r"RUSTFS_CA_BUNDLE, .*bundle\.pem, cannot be used"):
        deliver.list_changes(replace(through, ca_bundle=bundle))

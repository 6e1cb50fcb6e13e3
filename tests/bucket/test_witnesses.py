"""What every store must be read alike for."""

from __future__ import annotations

import gzip
from dataclasses import replace

import pytest

from fleetfuel import errors
from fleetfuel.feed import deliver

from .conftest import SNAPSHOT, Witness


def test_the_snapshot_is_fetched_whole_with_the_etag_of_a_look(witness: Witness) -> None:
    settings = witness.under("few/")
    with deliver.fetch_snapshot(settings) as delivery:
        (file,) = delivery.files
        assert bytes(file.content) == SNAPSHOT
        assert (delivery.reading, delivery.source) == ("snapshot", "s3://fuel/few/latest.json")
        assert file.key_at is None
    seen = deliver.look_at_snapshot(settings)
    assert (seen.etag, seen.size, seen.modified_at) == (file.etag, len(SNAPSHOT), file.modified_at)


def test_a_file_overwritten_after_the_listing_comes_as_it_now_is(witness: Witness) -> None:
    key = "overwritten/changes/2026-06-11T20-24-33.json"
    witness.put(key, b"[1]")
    (listed,) = deliver.list_changes(witness.under("overwritten/")).files
    etag = witness.put(key, b"[1, 2]")
    with deliver.fetch_changes(witness.under("overwritten/"), [listed]) as delivery:
        (file,) = delivery.files
        assert (bytes(file.content), file.etag) == (b"[1, 2]", etag)
    (relisted,) = deliver.list_changes(witness.under("overwritten/")).files
    assert relisted.etag == etag != listed.etag


def test_gzip_is_inflated_with_and_without_its_header(witness: Witness) -> None:
    witness.put("gzip/changes/2026-06-11T20-24-33.json", gzip.compress(b"[1]"), ContentEncoding="gzip")
    witness.put("gzip/changes/2026-06-11T21-24-33.json.gz", gzip.compress(b"[2]") + gzip.compress(b"\n"))
    witness.put("gzip/changes/2026-06-11T22-24-33.json", gzip.compress(b"[3]")[:-3])
    listing = deliver.list_changes(witness.under("gzip/"))
    with deliver.fetch_changes(witness.under("gzip/"), listing.files) as delivery:
        assert [bytes(each.content) for each in delivery.files] == [b"[1]", b"[2]\n"]
        (bad,) = delivery.unreadable
        assert (bad.key, bad.reason, bad.is_lasting) == (
            "gzip/changes/2026-06-11T22-24-33.json",
            "its gzip is cut off",
            True,
        )


def test_keys_with_odd_characters_and_empty_objects_are_read(witness: Witness) -> None:
    names = ["Ünïcode & <x>+é 2026-06-11T20-24-33.json", "a%2Fb 2026-06-11T21-24-33.json", "no time.json"]
    for name in names:
        witness.put(f"odd/changes/{name}", b"")
    listing = deliver.list_changes(witness.under("odd/"))
    assert [each.key.removeprefix("odd/changes/") for each in listing.files] == names
    assert [each.key_at is None for each in listing.files] == [False, False, True]
    (notice,) = listing.notices
    assert notice.startswith("odd/changes/no time.json names no instant: it stands at its LastModified, 20")
    with deliver.fetch_changes(witness.under("odd/"), listing.files) as delivery:
        assert [bytes(each.content) for each in delivery.files] == [b"", b"", b""]


def test_an_empty_folder_holds_no_changes(witness: Witness) -> None:
    assert deliver.list_changes(witness.under("nothing/here/")).files == ()


def test_a_snapshot_that_is_not_there_is_reported_by_its_address(witness: Witness) -> None:
    with pytest.raises(errors.SourceNotFound, match=r"^s3://fuel/nowhere/latest\.json does not exist"):
        deliver.fetch_snapshot(witness.under("nowhere/")).__enter__()


def test_a_bucket_that_is_not_there_is_reported_by_its_name(witness: Witness) -> None:
    settings = replace(witness.settings, bucket="fuel-of-yesterday")
    for read in (deliver.list_changes, lambda settings: deliver.fetch_snapshot(settings).__enter__()):
        with pytest.raises(errors.SourceNotFound, match=r"^The bucket 'fuel-of-yesterday' does not exist"):
            read(settings)


@pytest.mark.parametrize("name", ["seaweed", "swift"])
@pytest.mark.parametrize("lacks", ["access_key", "secret_key"])
def test_wrong_keys_are_refused_and_not_repeated(name: str, lacks: str, request: pytest.FixtureRequest) -> None:
    settings = replace(request.getfixturevalue(name).settings, **{lacks: "wr0ng-s3cret"})
    with pytest.raises(errors.PermissionDenied, match="RUSTFS_ACCESS_KEY and RUSTFS_SECRET_KEY") as caught:
        deliver.list_changes(settings)
    for secret in ("wr0ng-s3cret", settings.secret_key):
        assert str(secret) not in str(caught.value)


def test_a_wrong_region_is_reported_with_the_right_one(swift: Witness) -> None:
    with pytest.raises(errors.ConfigurationError, match=r"^RUSTFS_REGION, 'eu-west-3', is not the region") as caught:
        deliver.list_changes(replace(swift.settings, region="eu-west-3"))
    assert caught.value.exit_code == 78
    assert "'us-east-1'" in str(caught.value)


def test_an_upload_in_parts_is_proven_by_its_etag(witness: Witness) -> None:
    key, half = "parts/latest.json", b'["' + b"x" * (5 * 2**20 - 2)
    upload = witness.client.create_multipart_upload(Bucket="fuel", Key=key)["UploadId"]
    parts = []
    for number, body in enumerate((half, b'"]'), 1):
        part = witness.client.upload_part(Bucket="fuel", Key=key, UploadId=upload, PartNumber=number, Body=body)
        parts.append({"PartNumber": number, "ETag": part["ETag"]})
    witness.client.complete_multipart_upload(Bucket="fuel", Key=key, UploadId=upload, MultipartUpload={"Parts": parts})
    with deliver.fetch_snapshot(witness.under("parts/")) as delivery:
        assert delivery.files[0].etag.endswith("-2")
        assert delivery.files[0].content == half + b'"]'
        assert delivery.notices == ()

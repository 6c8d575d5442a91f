"""Files appear whole or not at all."""

import json

import pytest

from mmcert.errors import RecordError
from mmcert.records.atomic import atomic_write, check_schema, read_json, write_json
from mmcert.records.ids import check_id


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"old": 1})

    def interrupted():
        with atomic_write(path) as stream:
            stream.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert json.loads(path.read_text()) == {"old": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_a_written_file_has_the_usual_permissions(tmp_path):
    (tmp_path / "usual").write_text("x")
    write_json(tmp_path / "ours", {})
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_nan_is_never_written(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff\xfe", b""])
def test_a_broken_json_file_is_named_with_a_remedy(tmp_path, content):
    path = tmp_path / "meta.json"
    path.write_bytes(content)
    with pytest.raises(RecordError, match=r"meta\.json.*do this"):
        read_json(path, "the meta", "do this")


@pytest.mark.parametrize("schema", [2, 0, "1", None, True, 1.5])
def test_another_schema_is_refused(schema):
    with pytest.raises(RecordError, match="reads schema 1"):
        check_schema({"schema": schema}, "run.json", 1, "upgrade")


@pytest.mark.parametrize("sample_id", ["um_000012", "a", "7", "clip-1.wav", "A.b_c-d"])
def test_plain_names_are_ids(sample_id):
    assert check_id(sample_id) == sample_id


@pytest.mark.parametrize(
    "sample_id",
    [
        "",
        ".hidden",
        "..",
        "../up",
        "a/b",
        "a\\b",
        "a=1",
        "a,b",
        "a b",
        "a\n",
        "\u00e9",
        3,
        "x" * 201,
    ],
)
def test_ids_that_could_leave_their_folder_are_refused(sample_id):
    with pytest.raises(RecordError, match="sample id"):
        check_id(sample_id)

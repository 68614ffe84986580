"""Files are whole or absent, whatever happens while they are written."""

import contextlib
import errno
import fcntl
import itertools
import lzma
import os

import pytest

from wildsr import files
from wildsr.errors import UserError


def test_the_old_bytes_stand_until_the_new_ones_are_whole(tmp_path):
    path = tmp_path / "file"
    files.write_bytes(path, b"old")
    with files.atomic_write(path) as file:
        file.write(b"new, half")
        file.flush()
        assert path.read_bytes() == b"old"
        file.write(b" and whole")
    assert path.read_bytes() == b"new, half and whole"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), OSError(errno.ENOSPC, "full")])
def test_a_failure_leaves_the_old_bytes_and_nothing_else(tmp_path, error):
    path = tmp_path / "file"
    files.write_bytes(path, b"old")

    def fail():
        with files.atomic_write(path) as file:
            file.write(b"new")
            raise error

    with pytest.raises(type(error)) as caught:
        fail()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]
    if isinstance(error, OSError):
        assert caught.value.filename == str(path)


@pytest.mark.parametrize(("first_breaks", "second_breaks"), [*itertools.product([False, True], repeat=2)])
def test_of_two_that_write_one_name_each_has_a_file_of_its_own(tmp_path, first_breaks, second_breaks):
    path = tmp_path / "file"
    files.write_bytes(path, b"old")

    def write(data: bytes, breaks: bool, meanwhile) -> None:
        with contextlib.suppress(ValueError), files.atomic_write(path) as file:
            file.write(data)
            file.flush()
            meanwhile()
            if breaks:
                raise ValueError

    write(b"first" * 9, first_breaks, meanwhile=lambda: write(b"2nd", second_breaks, meanwhile=lambda: None))
    assert path.read_bytes() == (b"first" * 9 if not first_breaks else b"2nd" if not second_breaks else b"old")
    assert os.listdir(tmp_path) == ["file"]


def test_what_a_killed_process_left_is_taken_over(tmp_path):
    (tmp_path / ".file.partial").write_bytes(b"half of something much longer")
    files.write_bytes(tmp_path / "file", b"whole")
    assert (tmp_path / "file").read_bytes() == b"whole"
    assert os.listdir(tmp_path) == ["file"]


def test_a_partial_file_that_took_its_name_in_between_is_left_alone(tmp_path, monkeypatch):
    """Another writer, who ends between our opening of its file and our look at its lock."""
    path, partial = tmp_path / "file", tmp_path / ".file.partial"
    partial.write_bytes(b"theirs")
    real, calls = fcntl.flock, []

    def flock(file, how):
        if not calls:
            os.replace(partial, path)
        calls.append(how)
        real(file, how)

    monkeypatch.setattr("wildsr.files.fcntl.flock", flock)
    with files.atomic_write(path) as file:
        assert path.read_bytes() == b"theirs"
        file.write(b"ours")
    assert path.read_bytes() == b"ours"
    assert len(calls) == 2
    assert os.listdir(tmp_path) == ["file"]


def test_a_name_may_be_as_long_as_the_disk_allows(tmp_path):
    path = tmp_path / ("写" * 84 + ".md")
    files.write_bytes(path, b"x")
    assert os.listdir(tmp_path) == [path.name]
    with pytest.raises(OSError, match="too long") as caught:
        files.write_bytes(tmp_path / ("a" * 256), b"x")
    assert caught.value.filename == str(tmp_path / ("a" * 256))
    assert os.listdir(tmp_path) == [path.name]


def test_a_place_that_is_taken_by_a_folder_is_called_by_its_name(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        files.write_bytes(tmp_path / "taken", b"x")
    assert files.describe_error(caught.value).startswith(f"{tmp_path / 'taken'}: ")
    assert os.listdir(tmp_path) == ["taken"]


def test_a_folder_is_whole_or_absent(tmp_path):
    with files.atomic_directory(tmp_path / "folder") as partial:
        (partial / "a").write_text("a")
        assert not (tmp_path / "folder").exists()
    assert os.listdir(tmp_path) == ["folder"]
    with pytest.raises(ValueError, match="x"), files.atomic_directory(tmp_path / "other") as partial:
        raise ValueError("x")
    assert os.listdir(tmp_path) == ["folder"]


def test_records_survive_a_torn_line(tmp_path):
    log = tmp_path / "log.jsonl"
    files.append_jsonl(log, [{"a": 1}, {"b": "ü\u2028\x85"}])
    with open(log, "ab") as file:
        file.write(b'{"torn": ')
    assert files.read_jsonl(log) == [{"a": 1}, {"b": "ü\u2028\x85"}]
    files.append_jsonl(log, [{"c": 3}])
    assert files.read_jsonl(log) == [{"a": 1}, {"b": "ü\u2028\x85"}, {"c": 3}]


def test_a_full_disk_under_a_log_is_named():
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full to stand for a full disk")
    with pytest.raises(OSError, match="full") as caught:
        files.append_jsonl(files.Path("/dev/full"), [{"a": 1}])
    assert files.describe_error(caught.value) == "/dev/full: No space left on device"


def test_a_lock_is_held_once_and_freed(tmp_path):
    for _ in range(2):
        with (
            files.exclusive(tmp_path / "lock", "taken"),
            pytest.raises(UserError, match="taken"),
            files.exclusive(tmp_path / "lock", "taken"),
        ):
            pass


def test_a_claim_says_whether_it_is_free_and_leaves_the_file_alone(tmp_path):
    with files.claim(tmp_path / "lock") as first, files.claim(tmp_path / "lock") as second:
        assert (first, second) == (True, False)
    os.utime(tmp_path / "lock", ns=(1, 1))
    with files.claim(tmp_path / "lock") as again:
        assert again
    assert (tmp_path / "lock").stat().st_mtime_ns == 1


def test_where_there_are_no_locks_all_are_free(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("wildsr.files.fcntl.flock", flock)
    with files.claim(tmp_path / "lock") as ours:
        assert ours


def test_the_code_version_names_the_sources():
    version = files.code_version()
    assert version.startswith("0.")
    assert "+src." in version


def test_records_compressed_by_xz_are_read(tmp_path):
    path = tmp_path / "a.jsonl.xz"
    path.write_bytes(lzma.compress('{"a": "ü"}\n{"b": 2}\n'.encode()))
    assert files.read_jsonl(path) == [{"a": "ü"}, {"b": 2}]
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(OSError, match="not a whole xz file"):
        files.read_jsonl(path)

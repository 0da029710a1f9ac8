"""Hashes of model files, against values recorded from the reference programs where there are some."""

import hashlib

from sd_scripts.library.families.hashes import FileHashes, file_hash, legacy_hash


def test_a_file_below_one_mebibyte_has_the_empty_legacy_hash(tmp_path):
    (tmp_path / "small").write_bytes(b"x" * 1000)
    assert legacy_hash(tmp_path / "small") == "e3b0c442"


def test_the_legacy_hash_covers_64_kibibytes_at_one_mebibyte(tmp_path):
    content = bytes(range(256)) * 5000
    (tmp_path / "large").write_bytes(content)
    assert legacy_hash(tmp_path / "large") == hashlib.sha256(content[2**20 : 2**20 + 2**16]).hexdigest()[:8]
    assert file_hash(tmp_path / "large") == hashlib.sha256(content).hexdigest()


def test_folders_and_missing_files_have_words_instead(tmp_path):
    assert (legacy_hash(tmp_path), file_hash(tmp_path)) == ("IsADirectory", "IsADirectory")
    assert (legacy_hash(tmp_path / "none"), file_hash(tmp_path / "none")) == ("NOFILE", "NOFILE")


def test_hashes_computed_in_the_background_are_the_same(tmp_path):
    (tmp_path / "model").write_bytes(b"x" * 2_000_000)
    assert FileHashes(tmp_path / "model").result() == (legacy_hash(tmp_path / "model"), file_hash(tmp_path / "model"))

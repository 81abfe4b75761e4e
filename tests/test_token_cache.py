"""Tokenised notes kept between runs: found again, keyed by all that they depend on, checked, private and bounded."""

import os
import signal
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import ROOT, run_in
from test_finetune import SMALL, hashes
from toy import metadata, rows, write_table, write_training
from transformers import AutoTokenizer

from diagnosis.errors import UserError
from diagnosis.training import token_cache
from diagnosis.training.dataset import read_dataset
from diagnosis.training.token_cache import FOLDER, KEPT, PARTIAL, cached_dataset

OPTIONS = {"max_tokens": 32, "weighted": True}


@pytest.fixture
def notes(folder, tiny_model, monkeypatch):
    """(path, tokenizer, metadata) as cached_dataset takes them."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    path = folder / "balanced.parquet"
    write_table(path, rows(40), metadata(), weighted=True)
    return path, AutoTokenizer.from_pretrained(tiny_model), metadata()


@pytest.fixture
def tokenised(monkeypatch):
    """The calls of read_dataset."""
    calls = []

    def counted(path, *args, **options):
        calls.append(path)
        return read_dataset(path, *args, **options)

    monkeypatch.setattr(token_cache, "read_dataset", counted)
    return calls


def files(folder=FOLDER):
    return sorted(folder.glob("*.arrow"))


def content(dataset):
    return dataset.data.table.to_pylist()


def test_the_second_call_reads_what_the_first_wrote(notes, tokenised):
    first, second = cached_dataset(*notes, **OPTIONS), cached_dataset(*notes, **OPTIONS)
    assert len(tokenised) == 1
    assert content(first) == content(second) == content(read_dataset(*notes, **OPTIONS))
    assert second.format["type"] == "numpy"
    assert second.data.table.schema == read_dataset(*notes, **OPTIONS).data.table.schema


def test_a_sweep_over_learning_rates_tokenises_once(stage, folder, tiny_model, tokenised, monkeypatch):
    monkeypatch.delenv("DVC_ROOT", raising=False)
    write_training(folder, tiny_model)
    for rate in (1e-3, 2e-3, 3e-3):
        assert stage("finetune", SMALL | {"learning_rate": rate, "epochs": 1}) == (0, "")
    assert len(tokenised) == 2  # the train and the validation shard
    kept = hashes(folder)
    for file in files():
        file.unlink()
    assert stage("finetune", SMALL | {"learning_rate": 3e-3, "epochs": 1}) == (0, "")
    assert hashes(folder) == kept and len(tokenised) == 4


def test_whatever_the_tokens_depend_on_makes_another_file(notes, tokenised, tiny_model, monkeypatch):
    path, tokenizer, meta = notes
    cached_dataset(*notes, **OPTIONS)
    cached_dataset(*notes, **OPTIONS | {"max_tokens": 16})
    cached_dataset(*notes, **OPTIONS | {"weighted": False})
    cached_dataset(path, tokenizer, meta | {"classes": [*meta["classes"], "other"]}, **OPTIONS)
    write_table(path, rows(40, seed=3), metadata(), weighted=True)
    cached_dataset(*notes, **OPTIONS)
    other = AutoTokenizer.from_pretrained(tiny_model)
    other.add_tokens(["cough fever"])
    cached_dataset(path, other, meta, **OPTIONS)
    monkeypatch.setattr(token_cache, "version", lambda name: "another")
    cached_dataset(*notes, **OPTIONS)
    assert len(tokenised) == len(files()) == 7


@pytest.mark.parametrize("damage", ["cut short", "a byte altered", "emptied"])
def test_a_damaged_file_is_noticed_and_made_again(notes, tokenised, damage):
    whole = content(cached_dataset(*notes, **OPTIONS))
    (file,) = files()
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes({"cut short": data[: len(data) // 2], "a byte altered": data, "emptied": b""}[damage])
    assert content(cached_dataset(*notes, **OPTIONS)) == whole
    assert len(tokenised) == 2 and files() == [file]


def test_only_the_owner_may_read_it(notes):
    cached_dataset(*notes, **OPTIONS)
    assert [stat.S_IMODE(file.stat().st_mode) for file in files()] == [0o600]
    assert stat.S_IMODE(FOLDER.stat().st_mode) == 0o700


def test_it_lies_beside_dvc_where_an_experiment_works_elsewhere(notes, tmp_path_factory, monkeypatch):
    root = tmp_path_factory.mktemp("root")
    monkeypatch.setenv("DVC_ROOT", str(root))
    cached_dataset(*notes, **OPTIONS)
    assert not FOLDER.exists() and len(files(root / FOLDER)) == 1


def test_of_two_runs_at_once_one_tokenises(notes, tokenised):
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(cached_dataset, *notes, **OPTIONS) for _ in range(2)]
    assert content(both[0].result()) == content(both[1].result())
    assert len(tokenised) == len(files()) == 1


def test_a_kill_while_it_is_written_leaves_nothing_that_counts(notes, monkeypatch):
    process = os.fork()
    if process == 0:
        token_cache.os.replace = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)
        cached_dataset(*notes, **OPTIONS)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL
    assert (FOLDER / PARTIAL).exists() and not files()
    assert len(cached_dataset(*notes, **OPTIONS)) == 40
    assert not (FOLDER / PARTIAL).exists() and len(files()) == 1


def test_those_used_longest_ago_are_removed(notes):
    for number in range(KEPT):
        cached_dataset(*notes, **OPTIONS | {"max_tokens": 8 + number})
        newest = max(files(), key=lambda file: file.stat().st_mtime_ns)
        os.utime(newest, (number, number))
    cached_dataset(*notes, **OPTIONS | {"max_tokens": 8})  # the first again: it is no longer the oldest
    oldest = min(files(), key=lambda file: file.stat().st_mtime_ns)
    assert oldest.stat().st_mtime == 1
    cached_dataset(*notes, **OPTIONS | {"max_tokens": 100})
    assert len(files()) == KEPT and oldest not in files()


def test_bad_notes_are_one_line_and_nothing_is_kept(notes):
    path, tokenizer, meta = notes
    with pytest.raises(UserError, match="does not exist"):
        cached_dataset(path.with_name("gone.parquet"), tokenizer, meta, **OPTIONS)
    write_table(path, [], metadata(), weighted=True)
    with pytest.raises(UserError, match="holds no note"):
        cached_dataset(*notes, **OPTIONS)
    assert not files()


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not in a git repository")
def test_git_and_dvc_ignore_it():
    path = f"{FOLDER}/0.arrow"
    assert run_in(ROOT, "git", "check-ignore", path).stdout.strip() == path
    assert run_in(ROOT, "dvc", "check-ignore", path).stdout.strip() == path

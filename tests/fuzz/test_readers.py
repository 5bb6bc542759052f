"""Every reader of files against damaged ones: it returns something or raises DfmlError, and does nothing else."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dfml.errors import DfmlError
from dfml.files.reading import read_json
from support.artefacts import ARTEFACTS
from support.fuzzing import MANY, Fuzzer, Outcome, TooSlowError, alarm, read_damaged, share_of

QUICK = 1_500


@pytest.mark.parametrize("artefact", ARTEFACTS, ids=lambda artefact: artefact.name)
def test_damaged_files_are_read_or_refused(artefact, memory, tmp_path):
    outcome = Fuzzer(artefact, memory, tmp_path).run(range(share_of(artefact, QUICK, ARTEFACTS)))
    assert outcome.failures == {}
    assert outcome.refused > 0, "nothing that was damaged was noticed"


@pytest.mark.slow
def test_a_hundred_thousand_damaged_files(memory, tmp_path):
    # Other numbers than the quick test's.
    tried, failures = read_damaged(ARTEFACTS, 1_000_000, MANY, memory, tmp_path)
    assert failures == {}
    assert tried >= MANY


@settings(max_examples=150, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(content=st.binary(max_size=80) | st.text(max_size=80).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_in_place_of_json(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DfmlError):
        read_json(tmp_path / "a.json", format="dfml.zoo", version=1)


class TestTheFuzzer:
    """It finds what is wrong, tells how to see it again, and leaves nothing behind."""

    @staticmethod
    def outcome(tmp_path, read) -> Outcome:
        one = next(artefact for artefact in ARTEFACTS if artefact.name == "split")
        changed = type(one)("mine", one.write, read, one.mutations)
        return Fuzzer(changed, tmp_path).run(range(3))

    def test_damage_is_repeatable(self, tmp_path):
        for artefact in ARTEFACTS[:3]:
            first, again = Fuzzer(artefact, tmp_path / "a"), Fuzzer(artefact, tmp_path / "b")
            assert [first.damaged(n) for n in range(20)] == [again.damaged(n) for n in range(20)]

    @pytest.mark.parametrize(
        ("act", "place"),
        [
            (lambda folder: {}["no"], "KeyError"),
            (lambda folder: bytearray(1 << 36), "MemoryError"),
            (lambda folder: torch.empty(1 << 36), "RuntimeError"),
            (lambda folder: (folder / "more").write_text(""), "written"),
            (lambda folder: (folder.parent / "more").write_text(""), "outside"),
            (lambda folder: (folder.parent / "mine.0" / "split.json").read_text(), "outside"),
            (lambda folder: _raise(DfmlError("\x1b[2J")), None),
            (lambda folder: _raise(OSError("gone")), "OSError"),
        ],
    )
    def test_sees(self, tmp_path, act, place):
        calls = []

        def read(folder):
            calls.append(folder)
            if len(calls) > 1:  # the valid one is read first
                act(folder)

        failures = self.outcome(tmp_path, read).failures
        assert [found.startswith(place) for found in failures] == [True] if place else failures == {}
        if place:
            (message,) = failures.values()
            kept = tmp_path / "mine-0"
            assert f"input 0, kept in {kept}" in message
            assert (kept / "split.json").exists()

    def test_stops_what_takes_too_long(self):
        with pytest.raises(TooSlowError), alarm(0.05):
            while True:
                pass


def _raise(error: Exception) -> None:
    raise error

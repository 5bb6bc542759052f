"""The key `custom_methods`: names, files, and what these import."""

import pytest

from dfml.config.load import validate_config
from support.configuration import problems


class TestCustomMethods:
    @pytest.fixture
    def file(self, tmp_path):
        path = tmp_path / "mine.py"
        path.write_text("def fit(context): ...\n", encoding="utf-8")
        return str(path)

    def test_they_run_last_on_every_pool_or_where_they_are_listed(self, file):
        pools = {"single": {}, "some": {"methods": ["random"]}, "own": {"methods": ["mine"]}}
        config = validate_config({"custom_methods": {"mine": file}, "pools": pools, "methods": ["random"]})
        assert config.all_methods == ("random", "mine")
        assert [config.selected(pool) for pool in pools] == [("random", "mine"), ("random",), ("mine",)]
        assert {(cell.pool, cell.method) for cell in config.cells()} == {
            ("single", "random"), ("single", "mine"), ("some", "random"), ("own", "mine"),
        }  # fmt: skip

    def test_a_name_may_be_that_of_a_section_and_has_no_settings(self, file):
        config = validate_config({"custom_methods": {"zoo": file, "purer": file}})
        assert config.options("zoo") == config.options("purer") == {}

    def test_they_need_the_weights(self, file):
        pools = {"single": {}, "sealed": {"access": "logits"}}
        config = validate_config({"custom_methods": {"mine": file}, "pools": pools})
        assert config.inapplicable("single", "mine") is None
        assert "weights" in config.inapplicable("sealed", "mine")

    def test_what_is_wrong_with_a_name_or_file_is_said(self, file, tmp_path):
        broken = tmp_path / "broken.py"
        broken.write_text("def fit(:\n", encoding="utf-8")
        wrong = {"free": file, "gone": "gone.py", "broken": str(broken)}
        assert problems({"custom_methods": wrong}) == [
            f"custom_methods.broken: `{broken}` is not a Python file that can be read: "
            "invalid syntax (broken.py, line 1)",
            "custom_methods.free: `free` is a method of this package; choose another name",
            "custom_methods.gone: there is no file `gone.py` (a path is taken from the folder that the command runs "
            "in)",
        ]
        assert problems({"custom_methods": {"Mine": file}})[0].startswith(
            "custom_methods.Mine: `Mine` cannot be a name"
        )
        for unknown in ("~nobody_of_that_name/mine.py", 5000 * "m"):
            (line,) = problems({"custom_methods": {"mine": unknown}})
            assert line.startswith(f"custom_methods.mine: there is no file `{unknown}`")
        (line,) = problems({"custom_methods": ["mine"]})
        assert line.startswith("custom_methods: expected names, each with a text, got")
        (line,) = problems({"custom_methods": {"mine": file}, "pools": {"single": {"methods": ["mien"]}}})
        assert line.startswith("pools.single.methods: unknown method `mien`; did you mean `mine`?")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"mine.py": "import absent_helper"}, "neither installed nor in its folder: absent_helper in mine.py"),
        ({"mine.py": "import own", "own.py": "from absent_one import x, y"}, "absent_one in own.py"),
        ({"mine.py": "from dfml.methods.bases import Fitted"}, "dfml.methods.bases in mine.py"),
        (
            {"mine.py": "import own", "own.py": "def broken(:"},
            "is not a Python file that can be read: invalid syntax (own.py",
        ),
    ],
)
def test_a_method_whose_imports_lead_nowhere_is_refused_at_once(tmp_path, files, said):
    for name, text in files.items():
        (tmp_path / name).write_text(f"{text}\n", encoding="utf-8")
    (line,) = problems({"custom_methods": {"mine": str(tmp_path / "mine.py")}})
    assert line.startswith(f"custom_methods.mine: `{tmp_path}/mine.py` ") and said in line

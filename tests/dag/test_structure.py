"""The workflow keeps its own rules: names, logs, captions, profile, and names that stand in two places."""

import ast
import re
import subprocess
import sys

import pytest
import yaml

from support.repository import ROOT

WORKFLOW = ROOT / "workflow"
CODE = (WORKFLOW / "rules" / "code.smk").read_text(encoding="utf-8")
RULES = {
    name: body
    for path in sorted((WORKFLOW / "rules").glob("*.smk"))
    for name, body in re.findall(
        r"^rule (\w+):\n((?:    .*\n|\n)+)", path.read_text(encoding="utf-8") + "\n", re.MULTILINE
    )
}
COMPUTE = {name for name, body in RULES.items() if "threads:" in body}
LIGHT = {"make_results", "make_quality_tables", "build_report"}
# Rules without a job, to be asked for by name.
TARGETS = {"data", "zoo", "inversion", "metalearning", "results"}


def test_rules_are_named_like_their_scripts():
    scripts = {path.stem for path in (WORKFLOW / "scripts").glob("*.py")}
    assert scripts == COMPUTE | LIGHT
    assert set(RULES) == scripts | TARGETS
    for name in scripts:
        assert f'"../scripts/{name}.py"' in RULES[name]
        assert f'"<logs>/{name}' in RULES[name]
        assert f'code("{name}"' in RULES[name] or f'code("{name}"' in CODE


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_targets_are_the_rooms_and_make_nothing_themselves(name):
    room = (WORKFLOW / "rules" / f"{name}.smk").read_text(encoding="utf-8")
    assert f"rule {name}:" in room
    (local,) = re.findall(r"^localrules:\n((?:    .*\n)+)", room, re.MULTILINE)
    assert f"    {name},\n" in local
    assert re.fullmatch(r'\s*"""[^"]+"""\s+input:\n(        \S+,\n)+\s*', RULES[name])


@pytest.mark.parametrize("name", sorted(COMPUTE))
def test_compute_rules_declare_what_a_scheduler_needs(name):
    body = RULES[name]
    assert body.lstrip().startswith('"""')
    # Decoding gives the same bits on any number of threads; training would not.
    threads = "threads: 2" if name == "prepare_images" else "threads: 1"
    for needed in ("log:", f"{threads}\n", "mem_mb=", "runtime=", "params:"):
        assert needed in body
    assert ("gpu=GPU" in body) == (name not in {"prepare_images", "import_zoo"})
    log, *benchmark = re.findall(r'"(<logs>/[^"]+)"', body)
    # What may come out of the cache has none.
    assert benchmark == ([] if name == "train_zoo" else [log.replace(".log", ".benchmark.tsv")])


def test_what_may_come_out_of_the_cache_tells_its_jobs_apart():
    """The cache goes by parameters alone: a wildcard that is none would hand out another job's zoo."""
    output, params = RULES["train_zoo"].split("output:")[1], RULES["train_zoo"].split("params:")[1]
    wildcards = set(re.findall(r"(?<!<)\{(\w+)\}", output))
    assert wildcards == {"dataset", "architecture", "seed"}
    assert all(f'{name}="{{{name}}}"' in params for name in wildcards)


def test_captions_are_all_used_and_all_there():
    text = (WORKFLOW / "Snakefile").read_text(encoding="utf-8") + "".join(RULES.values())
    named = set(re.findall(r"report/(\w+)\.rst", text))
    assert named == {path.stem for path in (WORKFLOW / "report").glob("*.rst")}


def test_results_list_what_the_package_makes():
    from dfml.results.stage import FIGURES, TABLES

    rules = (WORKFLOW / "rules" / "results.smk").read_text(encoding="utf-8")
    for name, made in (("TABLES", TABLES), ("FIGURES", FIGURES)):
        listed = re.search(rf"^{name} = (\{{.*?^\}})$", rules, re.MULTILINE | re.DOTALL)
        assert set(ast.literal_eval(listed[1])) == set(made)
        assert {path.stem for path in (WORKFLOW / "report" / name.lower()).iterdir()} == set(made), "captions"


def test_catalogue_knows_every_method():
    from dfml.catalogue import METHODS

    real = {name for name, entry in METHODS.items() if entry.reads_real_images}
    assert real == {name for name in METHODS if name.startswith("supervised_")} | {"unlabelled_heads"}
    for entry in METHODS.values():
        for where in filter(None, (entry.fit, entry.settings)):
            assert (ROOT / "src" / where.split(":")[0].replace(".", "/")).with_suffix(".py").exists()


def test_default_profile_explains_every_entry():
    lines = (WORKFLOW / "profiles" / "default" / "profile.yaml").read_text(encoding="utf-8").splitlines()
    entries = yaml.safe_load("\n".join(lines))
    assert entries["resources"]["gpu"] == 1
    assert entries.keys() >= {"cores", "rerun-incomplete", "show-failed-logs", "max-checksum-file-size"}
    for key in entries:
        (position,) = [number for number, line in enumerate(lines) if line.startswith(f"{key}:")]
        assert lines[position - 1].startswith("#"), f"{key} has no comment"


def test_lint_and_format_are_clean():
    checks = [
        subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for command in (["snakemake", "--lint"], ["snakefmt", "--check", "workflow"])
    ]
    said = [check.communicate()[0] for check in checks]
    assert [check.returncode for check in checks] == [0, 0], said


def test_dvc_stages_name_what_exists_and_delete_nothing():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    config = yaml.safe_load((ROOT / "config" / "config.yaml").read_text(encoding="utf-8"))
    made = set()
    for stage in stages.values():
        for rule in re.findall(r" -- (.*)", stage["cmd"]):
            assert set(rule.split()) <= TARGETS
        for keys in stage.get("params", []):
            assert set(keys["config/config.yaml"]) <= set(config)
        for dependency in stage["deps"]:
            assert dependency in made or (ROOT / dependency).exists()
        for (path, options), *rest in (list(out.items()) for out in stage["outs"] + stage.get("metrics", [])):
            assert not rest
            # What is in git is no result of the workflow: it would look finished in every clone.
            assert path.startswith("docs/" if "cache" in options else f"results/{config['experiment']}/")
            assert options["persist"], f"{path} would be deleted before its stage"
            made.add(path)

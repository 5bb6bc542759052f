# The code behind jobs: its digests, which make them run again, and a trial of what is not the package's.
import ast
import hashlib
import json
import re
import subprocess
import sys

import dfml
from dfml.config.own_files import trials
from dfml.jobs.code_digest import code_digest, file_digest

PACKAGE = Path(dfml.__file__).parent


@cache
def code(rule, *modules):
    """Digest of a rule's script, of the package's modules behind it, and of further `modules` it imports by name.

    Comments and docstrings of the package do not count, nor do modification times, so a checkout reruns nothing.
    """
    script = Path(workflow.basedir, "scripts", f"{rule}.py").read_text(encoding="utf-8")
    imported = re.findall(r"^from (dfml[\w.]*) import", script, flags=re.MULTILINE)
    parts = [ast.dump(ast.parse(script)), *(code_digest(module, PACKAGE) for module in (*imported, *modules))]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def with_file(digest, file):
    """A digest of code and of a file of the user's own with what it imports; without such a file the digest itself."""
    return digest_json([digest, file_digest(Path(file).expanduser(), PACKAGE)]) if file else digest


def zoo_code(wildcards):
    """Digest of what trains a zoo: a network of the user's own counts for its own zoos only."""
    family = settings.networks[wildcards.architecture].family
    return with_file(code("train_zoo"), settings.custom_networks.get(family))


def cell_code(wildcards):
    """Digest of what fits a cell: methods are imported by name, so each counts for its own cells only."""
    if file := settings.custom_methods.get(wildcards.method):
        digest = with_file(code("meta_learn"), file)
    else:
        digest = code("meta_learn", entry(wildcards.method).fit.split(":")[0])
    return with_file(digest, settings.custom_networks.get(settings.learner_of(wildcards.method).family))


def card_digest(zoo):
    """Digest of what an imported zoo's card says and of the code beside it that it names, with all that imports."""
    card, path = settings.card(zoo), card_path(zoo)
    sources = [path.parent / model.source for model in card.models if model.source]
    code = {str(file.relative_to(path.parent)): file_digest(file, PACKAGE) for file in dict.fromkeys(sources)}
    return digest_json([card.model_dump(mode="json"), code])


def report_texts():
    """Digest of the report's captions and style, which Snakemake does not watch."""
    texts = sorted(Path(workflow.basedir, "report").rglob("*.*"))
    return digest_json(
        {str(text.relative_to(workflow.basedir)): text.read_text(encoding="utf-8") for text in texts}
    )


def try_networks():
    """Refuse networks of the user's own that jobs could not do with; in a process of its own, which imports torch."""
    told = trials(settings)
    if told["networks"]:
        run = subprocess.run(
            [sys.executable, "-m", "dfml.networks.trial"],
            input=json.dumps(told),
            stdout=subprocess.PIPE,
            text=True,
        )
        if run.returncode:
            raise SystemExit(run.stdout.strip())

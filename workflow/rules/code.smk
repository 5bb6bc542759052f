# Digests of the code behind a job, which make it run again.
import ast
import hashlib
import re

import dfml
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


def cell_code(wildcards):
    """Digest of what fits a cell: methods are imported by name, so each counts for its own cells only."""
    if file := settings.custom_methods.get(wildcards.method):
        return digest_json([code("meta_learn"), file_digest(Path(file).expanduser(), PACKAGE)])
    return code("meta_learn", entry(wildcards.method).fit.split(":")[0])


def card_digest(zoo):
    """Digest of what an imported zoo's card says and of the code beside it that it names, with all that imports."""
    card, path = settings.card(zoo), card_path(zoo)
    sources = [path.parent / model.source for model in card.models if model.source]
    code = {str(file.name): file_digest(file, PACKAGE) for file in dict.fromkeys(sources)}
    return digest_json([card.model_dump(mode="json"), code])


def report_texts():
    """Digest of the report's captions, which Snakemake does not watch."""
    texts = sorted(Path(workflow.basedir, "report").glob("*.rst"))
    return digest_json({text.name: text.read_text(encoding="utf-8") for text in texts})

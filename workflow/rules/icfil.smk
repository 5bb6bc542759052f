# Room ICFIL: PURER's supplement at meta-test, beside the evaluation of every learner; nothing is made unless asked for.
# Reads: <results>/metalearning, <results>/images. Makes: icfil.json in <results>/evaluation, a table


localrules:
    tabulate_icfil,


ICFIL = [
    f"<results>/evaluation/{c.pool}/{c.method}/{c.shots}shot/seed{c.seed}/icfil.json"
    for c in CELLS
    if settings.icfil.episodes and c.method in ICFIL_METHODS
]


rule calibrate:
    """Answer the first meta-test episodes with ICFIL and without."""
    input:
        weights="<results>/metalearning/{pool}/{method}/{shots}shot/seed{seed}/learner.safetensors",
        learner="<results>/metalearning/{pool}/{method}/{shots}shot/seed{seed}/learner.json",
        images=pool_images("images.json", "meta_test.npz"),
    output:
        "<results>/evaluation/{pool}/{method}/{shots}shot/seed{seed}/icfil.json",
    log:
        "<logs>/calibrate/{pool}/{method}/{shots}shot/seed{seed}.log",
    benchmark:
        "<logs>/calibrate/{pool}/{method}/{shots}shot/seed{seed}.benchmark.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=3000,
        runtime=240,
    params:
        code=code("calibrate"),
        cell=cell,
        ways=settings.ways,
        evaluation=plain(settings.evaluation),
        settings=plain(settings.icfil),
    script:
        "../scripts/calibrate.py"


rule tabulate_icfil:
    """Put what ICFIL changed into one table."""
    input:
        ICFIL,
    output:
        multiext("<results>/tables/icfil", ".csv", ".md", ".tex"),
        report(
            "<results>/tables/icfil.html",
            caption="../report/icfil.rst",
            category="Tables",
            labels={"table": "8 ICFIL"},
        ),
    log:
        "<logs>/tabulate_icfil.log",
    conda:
        "../../environment.yml"
    params:
        code=code("tabulate_icfil"),
    script:
        "../scripts/tabulate_icfil.py"

# Room RESULTS. Every record in one long table; tables, figures and the report made of it.
# Reads: <results>/evaluation and the summaries of zoo and inversion.
# Makes: results.csv, metrics.json, tables, figures, first_page.html and report.html in <results>; where no learner is
# measured, quality.


# What they are called in the report, which sorts by that.
TABLES = {
    "short": "0 accuracy, in short",
    "main": "1 accuracy",
    "difference": "2 difference to the best model",
    "main_by_seed": "3 accuracy by seed",
    "selection": "4 what choosing a moment adds",
    "cost": "5 cost",
    "zoo": "6 zoos",
    "inversion": "7 recovered images",
    "speed": "8 speed of inversion",
    "published": "9 published numbers",
}
FIGURES = {
    "main": "1 accuracy",
    "learning_curves": "2 learning curves",
    "accuracy_seconds": "3 accuracy against seconds",
    "inner_steps": "4 inversion steps",
    "bank_quality": "5 quality of recovered images",
    "recovered": "6 recovered images",
}


localrules:
    make_results,
    make_quality_tables,
    results,
    build_report,


rule make_results:
    """Put every record into one long table; of that make the means over seeds, every table and every figure.

    One process does it all: each part takes a second, and starting a process as long.
    """
    input:
        records=RECORDS,
        accuracies=ACCURACIES,
        zoos=ZOOS,
        imported=IMPORTED,
        inversions=INVERSIONS,
        speeds=SPEEDS,
        bank=SHOWN_BANK,
        bank_zoos=SHOWN_ZOOS,
        published="resources/published.yaml",
    output:
        [f"<results>/tables/{name}.{kind}" for name in TABLES for kind in ("csv", "md", "tex")],
        [
            report(
                f"<results>/tables/{name}.html",
                caption=f"../report/tables/{name}.rst",
                category="Tables",
                labels={"table": label},
            )
            for name, label in TABLES.items()
        ],
        [f"<results>/figures/{name}.png" for name in FIGURES],
        [
            report(
                f"<results>/figures/{name}.svg",
                caption=f"../report/figures/{name}.rst",
                category="Figures",
                labels={"figure": label},
            )
            for name, label in FIGURES.items()
        ],
        first_page="<results>/first_page.html",
        table=report(
            "<results>/results.csv",
            caption="../report/results.rst",
            category="Tables",
            labels={"table": "every result (csv)"},
        ),
        metrics="<results>/metrics.json",
    log:
        "<logs>/make_results.log",
    conda:
        "../../environment.yml"
    params:
        code=code("make_results"),
        grid=table_grid(),
        shared=SHARED,
        ways=settings.ways,
        shots=list(settings.shots),
        label_space=settings.label_space,
    script:
        "../scripts/make_results.py"


rule make_quality_tables:
    """Of an experiment that measures no learner: the tables of its zoos and of the images recovered from them."""
    input:
        zoos=ZOOS,
        imported=IMPORTED,
        inversions=INVERSIONS,
    output:
        multiext("<results>/quality/zoo", ".csv", ".md", ".tex", ".html"),
        multiext("<results>/quality/inversion", ".csv", ".md", ".tex", ".html"),
    log:
        "<logs>/make_quality_tables.log",
    conda:
        "../../environment.yml"
    params:
        code=code("make_quality_tables"),
        pools=list(settings.pools),
    script:
        "../scripts/make_quality_tables.py"


rule results:
    """Every table and figure, without the report."""
    input:
        rules.make_results.output,


rule build_report:
    """Put tables, figures, captions and statistics of all jobs into one page that opens offline.

    Snakemake makes its report from finished jobs, so this job starts it on everything but itself.
    """
    input:
        rules.results.input,
    output:
        report="<results>/report.html",
        config="<results>/config.yaml",
    log:
        "<logs>/build_report.log",
    conda:
        "../../environment.yml"
    params:
        code=code("build_report"),
        texts=report_texts(),
        config=dict(config),
    script:
        "../scripts/build_report.py"

# Room RESULTS. Every record in one long table; tables, figures and the report made of it.
# Reads: <results>/evaluation and the summaries of zoo and inversion.
# Makes: results.csv, metrics.json, tables, figures and report.html in <results>


localrules:
    collect_records,
    make_tables,
    draw_figures,
    results,
    build_report,


rule collect_records:
    """Put every record into one long table, and the mean over seeds of each cell into metrics.json."""
    input:
        RECORDS,
    output:
        table=report(
            "<results>/results.csv",
            caption="../report/results.rst",
            category="Tables",
            labels={"table": "7 every result (csv)"},
        ),
        metrics="<results>/metrics.json",
    log:
        "<logs>/collect_records.log",
    conda:
        "../../environment.yml"
    params:
        code=code("collect_records"),
    script:
        "../scripts/collect_records.py"


rule make_tables:
    """Write every table as csv, md, tex and, for the report, html."""
    input:
        results="<results>/results.csv",
        zoos=ZOOS,
        inversions=INVERSIONS,
        speeds=SPEEDS,
    output:
        multiext("<results>/tables/main", ".csv", ".md", ".tex"),
        report(
            "<results>/tables/main.html",
            caption="../report/main.rst",
            category="Tables",
            labels={"table": "1 accuracy"},
        ),
        multiext("<results>/tables/main_by_seed", ".csv", ".md", ".tex"),
        report(
            "<results>/tables/main_by_seed.html",
            caption="../report/main_by_seed.rst",
            category="Tables",
            labels={"table": "2 accuracy by seed"},
        ),
        multiext("<results>/tables/zoo", ".csv", ".md", ".tex"),
        report(
            "<results>/tables/zoo.html",
            caption="../report/zoo.rst",
            category="Tables",
            labels={"table": "4 zoos"},
        ),
        multiext("<results>/tables/inversion", ".csv", ".md", ".tex"),
        report(
            "<results>/tables/inversion.html",
            caption="../report/inversion.rst",
            category="Tables",
            labels={"table": "5 recovered images"},
        ),
        multiext("<results>/tables/speed", ".csv", ".md", ".tex"),
        report(
            "<results>/tables/speed.html",
            caption="../report/speed.rst",
            category="Tables",
            labels={"table": "6 speed of inversion"},
        ),
        multiext("<results>/tables/cost", ".csv", ".md", ".tex"),
        report(
            "<results>/tables/cost.html",
            caption="../report/cost.rst",
            category="Tables",
            labels={"table": "3 cost"},
        ),
    log:
        "<logs>/make_tables.log",
    conda:
        "../../environment.yml"
    params:
        code=code("make_tables"),
        grid=table_grid(),
        ways=settings.ways,
        shots=list(settings.shots),
    script:
        "../scripts/make_tables.py"


rule draw_figures:
    """Draw every figure as svg and png."""
    input:
        results="<results>/results.csv",
        records=RECORDS,
        inversions=INVERSIONS,
        speeds=SPEEDS,
    output:
        report(
            "<results>/figures/main.svg",
            caption="../report/figure_main.rst",
            category="Figures",
            labels={"figure": "1 accuracy"},
        ),
        "<results>/figures/main.png",
        report(
            "<results>/figures/learning_curves.svg",
            caption="../report/learning_curves.rst",
            category="Figures",
            labels={"figure": "2 learning curves"},
        ),
        "<results>/figures/learning_curves.png",
        report(
            "<results>/figures/accuracy_seconds.svg",
            caption="../report/accuracy_seconds.rst",
            category="Figures",
            labels={"figure": "3 accuracy against seconds"},
        ),
        "<results>/figures/accuracy_seconds.png",
        report(
            "<results>/figures/inner_steps.svg",
            caption="../report/inner_steps.rst",
            category="Figures",
            labels={"figure": "4 inversion steps"},
        ),
        "<results>/figures/inner_steps.png",
    log:
        "<logs>/draw_figures.log",
    conda:
        "../../environment.yml"
    params:
        code=code("draw_figures"),
        grid=table_grid(),
        ways=settings.ways,
        shots=list(settings.shots),
    script:
        "../scripts/draw_figures.py"


rule results:
    """Every table and figure, without the report."""
    input:
        rules.collect_records.output,
        rules.make_tables.output,
        rules.draw_figures.output,


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

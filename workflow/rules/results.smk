# Room RESULTS. Every record in one long table; tables, figures and the report made of it.
# Reads: <results>/evaluation and the summaries of zoo and inversion.
# Makes: results.csv, metrics.json, tables, figures, first_page.html and report.html in <results>; where no learner is
# measured, quality.


localrules:
    make_results,
    describe_images,
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
        multiext("<results>/tables/main", ".csv", ".md", ".tex"),
        report(
            "<results>/tables/main.html",
            caption="../report/main.rst",
            category="Tables",
            labels={"table": "1 accuracy"},
        ),
        multiext("<results>/tables/short", ".csv", ".md", ".tex"),
        report(
            "<results>/tables/short.html",
            caption="../report/short.rst",
            category="Tables",
            labels={"table": "0 accuracy, in short"},
        ),
        multiext("<results>/tables/difference", ".csv", ".md", ".tex"),
        report(
            "<results>/tables/difference.html",
            caption="../report/difference.rst",
            category="Tables",
            labels={"table": "2 difference to the best model"},
        ),
        multiext("<results>/tables/main_by_seed", ".csv", ".md", ".tex"),
        report(
            "<results>/tables/main_by_seed.html",
            caption="../report/main_by_seed.rst",
            category="Tables",
            labels={"table": "3 accuracy by seed"},
        ),
        multiext("<results>/tables/selection", ".csv", ".md", ".tex"),
        report(
            "<results>/tables/selection.html",
            caption="../report/selection.rst",
            category="Tables",
            labels={"table": "4 what choosing a moment adds"},
        ),
        multiext("<results>/tables/zoo", ".csv", ".md", ".tex"),
        report(
            "<results>/tables/zoo.html",
            caption="../report/zoo.rst",
            category="Tables",
            labels={"table": "6 zoos"},
        ),
        multiext("<results>/tables/inversion", ".csv", ".md", ".tex"),
        report(
            "<results>/tables/inversion.html",
            caption="../report/inversion.rst",
            category="Tables",
            labels={"table": "7 recovered images"},
        ),
        multiext("<results>/tables/speed", ".csv", ".md", ".tex"),
        report(
            "<results>/tables/speed.html",
            caption="../report/speed.rst",
            category="Tables",
            labels={"table": "8 speed of inversion"},
        ),
        multiext("<results>/tables/cost", ".csv", ".md", ".tex"),
        report(
            "<results>/tables/cost.html",
            caption="../report/cost.rst",
            category="Tables",
            labels={"table": "5 cost"},
        ),
        multiext("<results>/tables/published", ".csv", ".md", ".tex"),
        report(
            "<results>/tables/published.html",
            caption="../report/published.rst",
            category="Tables",
            labels={"table": "9 published numbers"},
        ),
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
        report(
            "<results>/figures/bank_quality.svg",
            caption="../report/bank_quality.rst",
            category="Figures",
            labels={"figure": "5 quality of recovered images"},
        ),
        "<results>/figures/bank_quality.png",
        report(
            "<results>/figures/recovered.svg",
            caption="../report/recovered.rst",
            category="Figures",
            labels={"figure": "6 recovered images"},
        ),
        "<results>/figures/recovered.png",
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


rule describe_images:
    """Of an experiment that measures no learner: the tables of its zoos and of the images recovered from them."""
    input:
        zoos=ZOOS,
        imported=IMPORTED,
        inversions=INVERSIONS,
    output:
        multiext("<results>/quality/zoo", ".csv", ".md", ".tex", ".html"),
        multiext("<results>/quality/inversion", ".csv", ".md", ".tex", ".html"),
    log:
        "<logs>/describe_images.log",
    conda:
        "../../environment.yml"
    params:
        code=code("describe_images"),
        pools=list(settings.pools),
    script:
        "../scripts/describe_images.py"


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

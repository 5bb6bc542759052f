# Room ZOO. Classifiers of random tasks: what data-free meta-learning is given.
# Reads: <results>/images, or the files that a card names. Makes: <results>/zoo


localrules:
    zoo,


# The cache takes a single file under each name; judges are one or none.
ZOO_JUDGES = {
    Path(name).stem: f"<results>/zoo/{{dataset}}/{{architecture}}/seed{{seed}}/{name}" for name in JUDGES
}


# Some of the models of a zoo that several jobs make.
ZOO_PART = "<results>/zoo_parts/{dataset}/{architecture}/seed{seed}/part{part}.pt"


rule train_zoo_part:
    """Train some of the models of one zoo, where `runtime.models_per_job` has it made by several jobs."""
    input:
        images="<results>/images/{dataset}/meta_train.npz",
        summary="<results>/images/{dataset}/images.json",
    output:
        part=temp(ZOO_PART),
    log:
        "<logs>/train_zoo_part/{dataset}/{architecture}/seed{seed}/part{part}.log",
    benchmark:
        "<logs>/train_zoo_part/{dataset}/{architecture}/seed{seed}/part{part}.benchmark.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=5000,
        runtime=720,
    params:
        code=zoo_code,
        script=code("train_zoo_part"),
        network=network_settings,
        settings=zoo_settings,
        ways=settings.ways,
        positions=zoo_positions,
    script:
        "../scripts/train_zoo_part.py"


rule train_zoo:
    """Train every model of one (data set, architecture, seed) in one process, which saves start-up time.

    The one rule worth `--cache`: so it has no benchmark, which Snakemake refuses then, and every wildcard is among its
    parameters, by which alone the cache tells jobs apart. Seconds are in the manifest, memory in the log.
    """
    input:
        images="<results>/images/{dataset}/meta_train.npz",
        summary="<results>/images/{dataset}/images.json",
        parts=lambda wildcards: collect(
            ZOO_PART, part=range(len(zoo_ranges(wildcards))), **dict(wildcards.items())
        ),
    output:
        **ZOO_JUDGES,
        weights="<results>/zoo/{dataset}/{architecture}/seed{seed}/zoo.safetensors",
        manifest="<results>/zoo/{dataset}/{architecture}/seed{seed}/zoo.json",
    log:
        "<logs>/train_zoo/{dataset}/{architecture}/seed{seed}.log",
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=5000,
        runtime=720,
    params:
        code=zoo_code,
        network=network_settings,
        settings=zoo_settings,
        ways=settings.ways,
        dataset="{dataset}",
        architecture="{architecture}",
        seed="{seed}",
    script:
        "../scripts/train_zoo.py"


rule import_zoo:
    """Check the models of a card, each on a batch, and write them as a zoo; no image is needed."""
    input:
        card=lambda wildcards: card_path(wildcards.zoo),
        files=lambda wildcards: card_files(wildcards.zoo),
    output:
        weights="<results>/zoo/{zoo}/zoo.safetensors",
        manifest="<results>/zoo/{zoo}/zoo.json",
    log:
        "<logs>/import_zoo/{zoo}.log",
    benchmark:
        "<logs>/import_zoo/{zoo}.benchmark.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        code=code("import_zoo"),
        card=lambda wildcards: card_digest(wildcards.zoo),
    script:
        "../scripts/import_zoo.py"


rule zoo:
    """Every zoo that some learner is given."""
    input:
        ZOOS,
        IMPORTED,

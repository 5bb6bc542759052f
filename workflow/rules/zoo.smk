# Room ZOO. Classifiers of random tasks: what data-free meta-learning is given.
# Reads: <results>/images. Makes: <results>/zoo


localrules:
    zoo,


# The cache takes a single file under each name; judges are one or none.
ZOO_JUDGES = {
    Path(name).stem: f"<results>/zoo/{{dataset}}/{{architecture}}/seed{{seed}}/{name}" for name in JUDGES
}


rule train_zoo:
    """Train every model of one (data set, architecture, seed) in one process, which saves start-up time.

    The one rule worth `--cache`: so it has no benchmark, which Snakemake refuses then, and every wildcard is among its
    parameters, by which alone the cache tells jobs apart. Seconds are in the manifest, memory in the log.
    """
    input:
        images="<results>/images/{dataset}/meta_train.npz",
        summary="<results>/images/{dataset}/images.json",
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
        mem_mb=3000,
        runtime=720,
    params:
        code=code("train_zoo"),
        network=network_settings,
        settings=zoo_settings,
        ways=settings.ways,
        dataset="{dataset}",
        architecture="{architecture}",
        seed="{seed}",
    script:
        "../scripts/train_zoo.py"


rule zoo:
    """Every zoo that some learner is given."""
    input:
        ZOOS,

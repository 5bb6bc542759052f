# Room ZOO. Classifiers of random tasks: what data-free meta-learning is given.
# Reads: <results>/images. Makes: <results>/zoo


rule train_zoo:
    """Train every model of one (data set, architecture, seed) in one process, which saves start-up time."""
    input:
        images="<results>/images/{dataset}/meta_train.npz",
        summary="<results>/images/{dataset}/images.json",
    output:
        weights="<results>/zoo/{dataset}/{architecture}/seed{seed}/zoo.safetensors",
        manifest="<results>/zoo/{dataset}/{architecture}/seed{seed}/zoo.json",
        judges=collect("<results>/zoo/{{dataset}}/{{architecture}}/seed{{seed}}/{name}", name=JUDGES),
    log:
        "<logs>/train_zoo/{dataset}/{architecture}/seed{seed}.log",
    benchmark:
        "<logs>/train_zoo/{dataset}/{architecture}/seed{seed}.benchmark.tsv"
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
        resume=f"{RESULTS}/resume/zoo/{{dataset}}/{{architecture}}/seed{{seed}}.pt",
    script:
        "../scripts/train_zoo.py"

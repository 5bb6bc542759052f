# Room EVALUATION. Every learner on the same real few-shot episodes.
# Reads: <results>/metalearning, <results>/images. Makes: <results>/evaluation


rule evaluate:
    """Adapt one learner to the fixed episodes of its pool's data sets."""
    input:
        weights=cell_learner("learner.safetensors"),
        learner=cell_learner("learner.json"),
        images=pool_images("images.json", *EVALUATED),
    output:
        record="<results>/evaluation/{pool}/{method}/{shots}shot/seed{seed}/record.json",
        accuracies="<results>/evaluation/{pool}/{method}/{shots}shot/seed{seed}/accuracies.npz",
    log:
        "<logs>/evaluate/{pool}/{method}/{shots}shot/seed{seed}.log",
    benchmark:
        "<logs>/evaluate/{pool}/{method}/{shots}shot/seed{seed}.benchmark.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=3000,
        runtime=240,
    params:
        code=code("evaluate"),
        cell=cell,
        experiment=settings.experiment,
        ways=settings.ways,
        settings=plain(settings.evaluation),
        config_digest=cell_digest,
    script:
        "../scripts/evaluate.py"

# Room METALEARNING, behind the data-free wall. A learner for every cell (pool, method, shots, seed).
# Reads: <results>/zoo, <results>/inversion. Makes: <results>/metalearning


localrules:
    metalearning,


rule meta_learn:
    """Fit one cell. Only a method marked as reading real images is given any."""
    input:
        zoos=cell_zoos("zoo.json"),
        weights=cell_zoos("zoo.safetensors"),
        inversion=cell_inversion,
        base=cell_base,
        images=cell_images,
    output:
        weights="<results>/metalearning/{pool}/{method}/{shots}shot/seed{seed}/learner.safetensors",
        learner="<results>/metalearning/{pool}/{method}/{shots}shot/seed{seed}/learner.json",
        history="<results>/metalearning/{pool}/{method}/{shots}shot/seed{seed}/history.csv",
    log:
        "<logs>/meta_learn/{pool}/{method}/{shots}shot/seed{seed}.log",
    benchmark:
        "<logs>/meta_learn/{pool}/{method}/{shots}shot/seed{seed}.benchmark.tsv"
    priority: 1  # before evaluations, the last link of every chain, so that no long chain is left for the end
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=4000,
        runtime=1440,
    params:
        code=cell_code,
        cell=cell,
        ways=settings.ways,
        label_space=settings.label_space,
        learner=cell_network,
        method=cell_method,
        options=cell_options,
        inversion=cell_inversion_settings,
    script:
        "../scripts/meta_learn.py"


rule metalearning:
    """Every learner."""
    input:
        LEARNERS,

# Room INVERSION, behind the data-free wall. Images recovered from the models of a pool.
# Reads: <results>/zoo. Makes: <results>/inversion


localrules:
    inversion,


rule invert:
    """Meta-train the generator on a pool, or invert its models one by one, and keep the recovered images."""
    input:
        zoos=pool_zoos("zoo.json"),
        weights=pool_zoos("zoo.safetensors", *JUDGES),
    output:
        generator="<results>/inversion/{pool}/{inverter}/seed{seed}/generator.safetensors",
        bank="<results>/inversion/{pool}/{inverter}/seed{seed}/bank.npz",
        summary="<results>/inversion/{pool}/{inverter}/seed{seed}/inversion.json",
        grid=report(
            "<results>/inversion/{pool}/{inverter}/seed{seed}/grid.png",
            caption="../report/grid.rst",
            category="Recovered images",
            labels={"pool": "{pool}", "inverter": "{inverter}", "seed": "{seed}"},
        ),
    log:
        "<logs>/invert/{pool}/{inverter}/seed{seed}.log",
    benchmark:
        "<logs>/invert/{pool}/{inverter}/seed{seed}.benchmark.tsv"
    priority: 1
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=4000,
        runtime=720,
    params:
        code=code("invert"),
        inverter=inverter,
        settings=inversion_settings,
        label_space=settings.label_space,
    script:
        "../scripts/invert.py"


rule time_inversion:
    """Time FIVE against per-model inversion on the same models, in turn and in one process."""
    input:
        zoos=pool_zoos("zoo.json"),
        weights=pool_zoos("zoo.safetensors"),
        generator=f"<results>/inversion/{{pool}}/five/seed{FIRST_SEED}/generator.safetensors",
        summary=f"<results>/inversion/{{pool}}/five/seed{FIRST_SEED}/inversion.json",
    output:
        "<results>/inversion/{pool}/speed.json",
    log:
        "<logs>/time_inversion/{pool}.log",
    benchmark:
        "<logs>/time_inversion/{pool}.benchmark.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=4000,
        runtime=240,
    params:
        code=code("time_inversion"),
        settings=plain(settings.inversion, exclude={"inverter", "slots", "cmi", "deep_inversion", "fast"}),
        seed=FIRST_SEED,
    script:
        "../scripts/time_inversion.py"


rule inversion:
    """Every bank that some learner starts from, and the speed of inversion."""
    input:
        INVERSIONS,
        SPEEDS,

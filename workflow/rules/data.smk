# Room DATA. Images of every data set, cut into meta-train, meta-val and meta-test classes.
# Reads: resources/embedded and config/splits, or a folder or an archive of the user. Makes: <results>/images


localrules:
    data,


rule prepare_images:
    """Read one data set, check it, and cut it by its class split."""
    input:
        image_sources,
    output:
        meta_train="<results>/images/{dataset}/meta_train.npz",
        meta_val="<results>/images/{dataset}/meta_val.npz",
        meta_test="<results>/images/{dataset}/meta_test.npz",
        summary="<results>/images/{dataset}/images.json",
    log:
        "<logs>/prepare_images/{dataset}.log",
    benchmark:
        "<logs>/prepare_images/{dataset}.benchmark.tsv"
    priority: 2  # before all else, so that damaged images of one data set are told before a zoo of another is trained
    conda:
        "../../environment.yml"
    threads: 2
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        code=code("prepare_images"),
        settings=dataset_settings,
        listing=image_listing,
        evaluated=is_evaluated,
        wanted=wanted_of_dataset,
    script:
        "../scripts/prepare_images.py"


rule data:
    """The images of every data set that some learner is evaluated on or asks."""
    input:
        IMAGES,

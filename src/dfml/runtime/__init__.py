"""What every stage needs to run: seeds, files, progress, checkpoints, the wall, devices, jobs."""

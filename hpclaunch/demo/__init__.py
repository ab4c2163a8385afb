"""Make-believe schedulers that run their jobs for real, as processes of this machine.

One machinery (`spool`, `runner`) and three tongues (`slurm`, `pbs`, `lsf`). They know the commands
that hpclaunch gives, and answer as real ones were recorded to answer.
"""

"""Make-believe schedulers that run their jobs for real, on this machine, and sites of them.

One machinery (`spool`, `runner`) and three tongues (`slurm`, `pbs`, `lsf`). They know the commands
that hpclaunch gives, and answer as real ones were recorded to answer. `whole` puts an SSH server
(`sshd`) before one of them, with a profile: a whole site, for ``hpclaunch demo``.
"""

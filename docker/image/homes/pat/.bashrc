# As on a site where SLURM comes with a module: it is installed, and not in PATH.
PATH=/opt/no-slurm/bin

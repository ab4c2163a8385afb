#!/bin/bash

#SBATCH --job-name=hpclaunch-demo-0123456789ab-w
#SBATCH --output='/home/a b/demo-0123456789ab/workers/worker-0.log'
#SBATCH --time=00:30:00
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=4
#SBATCH --mem=7630M
#SBATCH --partition=standard
#SBATCH --account=project1
#SBATCH --qos=high
#SBATCH --no-requeue
#SBATCH --constraint=cpu
module load 'python/3.11'
export PYTHONPATH='/lib/it'"'"'s'
export DASK_CONFIG='/home/a b/demo-0123456789ab/dask'
mkdir -p "${TMPDIR:?}"'/dask files' && scratch=$(mktemp -d "${TMPDIR:?}"'/dask files'/hpclaunch-XXXXXXXX) || exit
trap 'rm -rf "$scratch"' EXIT
export DASK_TEMPORARY_DIRECTORY="$scratch"
'/env with blank/bin/python' -m distributed.cli.dask_worker tls://10.1.2.3:4567 --name worker-0 --nthreads 4 --memory-limit 7.45GiB --nanny --death-timeout 60 --no-dashboard --dashboard-address 127.0.0.1:0 --lifetime 1740s --protocol tls://

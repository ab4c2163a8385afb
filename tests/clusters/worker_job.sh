#!/bin/bash
#SBATCH --job-name=hpclaunch-demo-0123456789ab-w
#SBATCH --output='/home/a b/demo-0123456789ab/workers/%A_%a.log'
#SBATCH --time=00:30:00
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=15259M
#SBATCH --partition=standard
#SBATCH --account=project1
#SBATCH --qos=high
#SBATCH --no-requeue
#SBATCH --array=0-1
#SBATCH --constraint=cpu
module load 'python/3.11'
export PYTHONPATH='/lib/it'"'"'s'
export DASK_CONFIG='/home/a b/demo-0123456789ab/dask'
mkdir -p "${TMPDIR:?}"'/dask files' && scratch=$(mktemp -d "${TMPDIR:?}"'/dask files'/hpclaunch-XXXXXXXX) || exit
trap 'rm -rf "$scratch"' EXIT
export DASK_TEMPORARY_DIRECTORY="$scratch"
names=(worker0 worker7)
now=$(date +%s)
ends=${SLURM_JOB_END_TIME:-$((now + 1800))}
lifetime=$((ends - now - 90 - RANDOM % 46))
((lifetime > 0)) || lifetime=1
'/env with blank/bin/python' -m distributed.cli.dask_worker tls://10.1.2.3:4567 --name "${names[${SLURM_ARRAY_TASK_ID:-0}]}" --nthreads 4 --memory-limit 7950000000B --nworkers 2 --nanny --death-timeout 60 --protocol tls:// --no-dashboard --dashboard-address 127.0.0.1:0 --lifetime "$lifetime s"

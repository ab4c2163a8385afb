#!/bin/bash
#PBS -N hpclaunch-demo-0123456789ab-w
#PBS -j oe
#PBS -o /dev/null
#PBS -l walltime=00:30:00
#PBS -l select=1:ncpus=8:mpiprocs=1:mem=15259mb:model=mil_ait
#PBS -q standard
#PBS -A project1
#PBS -r n
#PBS -m n
#PBS -l filesystems=home
exec >>'/home/a b/demo-0123456789ab/workers/'"$PBS_JOBID.log" 2>&1 || exit 1
cd "$PBS_O_WORKDIR" || exit 1
module load 'python/3.11'
export PYTHONPATH='/lib/it'"'"'s'
export DASK_CONFIG='/home/a b/demo-0123456789ab/dask'
mkdir -p "${TMPDIR:?}"'/dask files' && scratch=$(mktemp -d "${TMPDIR:?}"'/dask files'/hpclaunch-XXXXXXXX) || exit
trap 'rm -rf "$scratch"' EXIT
export DASK_TEMPORARY_DIRECTORY="$scratch"
names=(worker7)
now=$(date +%s)
ends=$((now + 1800))
lifetime=$((ends - now - 90 - RANDOM % 46))
((lifetime > 0)) || lifetime=1
'/env with blank/bin/python' -m distributed.cli.dask_worker tls://10.1.2.3:4567 --name "${names[0]}" --nthreads 4 --memory-limit 7950000000B --nworkers 2 --nanny --death-timeout 60 --protocol tls:// --no-dashboard --dashboard-address 127.0.0.1:0 --lifetime "$lifetime s"

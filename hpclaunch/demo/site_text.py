"""What the make-believe clusters tell of themselves, as real ones were recorded."""

from __future__ import annotations

# ruff: noqa: W291  (the schedulers' own lines)

PBS_QUEUES = """\
Queue: workq
    queue_type = Execution
    total_jobs = 0
    state_count = Transit:0 Queued:0 Held:0 Waiting:0 Running:0 Exiting:0 Begun
\t:0 
    enabled = True
    started = True

Queue: short
    queue_type = Execution
    Priority = 120
    total_jobs = 0
    state_count = Transit:0 Queued:0 Held:0 Waiting:0 Running:0 Exiting:0 Begun
\t:0 
    resources_max.ncpus = 4
    resources_max.walltime = 00:10:00
    enabled = True
    started = True

Queue: stopped
    queue_type = Execution
    total_jobs = 0
    state_count = Transit:0 Queued:0 Held:0 Waiting:0 Running:0 Exiting:0 Begun
\t:0 
    enabled = True
    started = False

"""

PBS_SERVER = """\
Server: pbs-login
    server_state = Active
    server_host = pbs-login
    scheduling = True
    total_jobs = 0
    state_count = Transit:0 Queued:0 Held:0 Waiting:0 Running:0 Exiting:0 Begun
\t:0 
    default_queue = workq
    log_events = 511
    mailer = /usr/sbin/sendmail
    mail_from = adm
    query_other_jobs = True
    resources_default.ncpus = 1
    resources_default.walltime = 01:00:00
    default_chunk.ncpus = 1
    scheduler_iteration = 15
    flatuid = True
    resv_enable = True
    node_fail_requeue = 310
    max_array_size = 10000
    pbs_license_min = 0
    pbs_license_max = 2147483647
    pbs_license_linger_time = 31536000
    license_count = Avail_Global:1000000 Avail_Local:1000000 Used:0 High_Use:0
    pbs_version = 23.06.06
    eligible_time_enable = False
    job_history_enable = True
    job_history_duration = 336:00:00
    max_concurrent_provision = 5
    max_job_sequence_id = 9999999

"""

_VNODE = """\
pbs-c1
     Mom = pbs-c1.pbsnet
     ntype = PBS
     state = free
     pcpus = 2
     resources_available.arch = linux
     resources_available.host = pbs-c1
     resources_available.mem = 8gb
     resources_available.ncpus = 4
     resources_available.vnode = pbs-c1
     resources_assigned.accelerator_memory = 0kb
     resources_assigned.hbmem = 0kb
     resources_assigned.mem = 0kb
     resources_assigned.naccelerators = 0
     resources_assigned.ncpus = 0
     resources_assigned.vmem = 0kb
     resv_enable = True
     sharing = default_shared
     license = l
     last_state_change_time = Sun Nov 22 10:57:49 2026

"""

PBS_NODES = "".join(_VNODE.replace("pbs-c1", name) for name in ("pbs-c1", "pbs-c2"))

LSF_QUEUES = """\

QUEUE: short
  -- Ten minutes at most

PARAMETERS/STATISTICS
PRIO NICE STATUS          MAX JL/U JL/P JL/H NJOBS  PEND   RUN SSUSP USUSP  RSV 
 40    0  Open:Active       -    -    -    -     0     0     0     0     0    0
Schedule delay for a new job is 0 seconds
Interval for a host to accept two jobs is 0 seconds

 RUNLIMIT                
 10.0 min                

SCHEDULING PARAMETERS
           r15s   r1m  r15m   ut      pg    io   ls    it    tmp    swp    mem
 loadSched   -     -     -     -       -     -    -     -     -      -      -  
 loadStop    -     -     -     -       -     -    -     -     -      -      -  

USERS:  all
HOSTS:  lsf-c1 lsf-c2 

-------------------------------------------------------------------------------

QUEUE: normal
  -- For normal low priority jobs  This is the default queue.

PARAMETERS/STATISTICS
PRIO NICE STATUS          MAX JL/U JL/P JL/H NJOBS  PEND   RUN SSUSP USUSP  RSV 
 30    0  Open:Active       -    -    -    -     0     0     0     0     0    0
Schedule delay for a new job is 0 seconds
Interval for a host to accept two jobs is 0 seconds

SCHEDULING PARAMETERS
           r15s   r1m  r15m   ut      pg    io   ls    it    tmp    swp    mem
 loadSched   -     -     -     -       -     -    -     -     -      -      -  
 loadStop    -     -     -     -       -     -    -     -     -      -      -  

USERS:  all
HOSTS:  lsf-c1 lsf-c2 


"""

LSF_HOSTS = """\
HOST_NAME          STATUS          JL/U    MAX  NJOBS    RUN  SSUSP  USUSP    RSV 
lsf-c1             ok                 -      4      0      0      0      0      0
lsf-c2             ok                 -      4      0      0      0      0      0
lsf-login          closed_Full        -      0      0      0      0      0      0
"""

LSF_MACHINES = """\
HOST_NAME                       type       model  cpuf ncpus maxmem maxswp server RESOURCES
lsf-login                      linux     IntelI5 100.0     2 24105M      -    Yes (fs cs)
lsf-c1                         linux     IntelI5 100.0     2 24105M      -    Yes (cs)
lsf-c2                         linux     IntelI5 100.0     2 24105M      -    Yes (cs)
"""

LSF_ID = """\
volclava project 2.2, Nov 22 2026

My cluster name is testlsf
My master name is lsf-login
"""

LSF_PARAMS = """\

System default queues for automatic queue selection:
    DEFAULT_QUEUE = normal

The interval for dispatching jobs by master batch daemon:
    MBD_SLEEP_TIME = 5 (seconds)

The interval for checking jobs by slave batch daemon:
    SBD_SLEEP_TIME = 5 (seconds)

The interval for a host to accept two batch jobs:
    JOB_ACCEPT_INTERVAL = 0 (* MBD_SLEEP_TIME)

The idle time of a host for resuming pg suspended jobs:
    PG_SUSP_IT = 180 (seconds)

The amount of time during which finished jobs are kept in core:
    CLEAN_PERIOD = 3600 (seconds)

The maximum number of finished jobs that can be stored in current events file:
    MAX_JOB_NUM = 1000

The maximum number of retries for reaching a slave batch daemon:
    MAX_SBD_FAIL = 3

The default project assigned to jobs.
    DEFAULT_PROJECT = default

The interval to terminate a job.
    JOB_TERMINATE_INTERVAL = 10 

The maximum number of jobs in a job array.
    MAX_JOB_ARRAY_SIZE = 1000

User level account mapping for remote jobs is disabled.

Static shared resource update interval for the cluster:
    SHARED_RESOURCE_UPDATE_FACTOR  = 2147483647 

The Maximum JobId defined in the system:
    MAX_JOBID = 999999

Job submission retry interval:
    SUB_TRY_INTERVAL = 60 seconds

the limits of 'default' user set in lsb.users would ignore user group:
    DEFAULT_LIMIT_IGNORE_USER_GROUP = FALSE

Mbatchd reserves resources based on job tasks:
    RESOURCE_RESERVE_PER_TASK = N

Run time weighting factor for fairshare scheduling policy:
    RUN_TIME_FACTOR = 0.700000

CPU time weighting factor for fairshare scheduling policy:
    CPU_TIME_FACTOR = 0.700000

Job slots weighting factor for fairshare scheduling policy:
    RUN_JOB_FACTOR = 3.000000

The number of hours of resource consumption history::
    HIST_HOURS = 3.000000

"""

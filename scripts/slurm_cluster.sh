#!/usr/bin/env bash
# A Slurm cluster on this machine, for tests and for trying a batch script before it queues for days.
#
#   scripts/slurm_cluster.sh start FOLDER   munged, slurmctld and two slurmd of their own in FOLDER
#   . FOLDER/env.sh                         srun, sbatch, squeue of this shell talk to it
#   scripts/slurm_cluster.sh stop FOLDER
#
# Needs Debian's or Ubuntu's packages slurm-wlm and munge; no root, no system service, no accounting.
# FOLDER must be readable by every user (slurmctld checks), e.g. one made by mktemp -d below /tmp.
# Two partitions: "main", and "urgent", whose jobs push those of "main" back into the queue.
set -euo pipefail

usage() { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" | sed '$d'; exit 2; }
[ $# -eq 2 ] || usage
command=$1
folder=$(realpath -m -- "$2")
export PATH="$PATH:/usr/sbin:/usr/local/sbin"

free_ports() { # N ports that nothing listens on
  python3 - "$1" <<'PYTHON'
import socket, sys
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*(s.getsockname()[1] for s in held))
PYTHON
}

stop() {
  local name pid
  for name in slurmd-one slurmd-two slurmctld munged; do
    [ -f "$folder/$name.pid" ] || continue
    pid=$(cat "$folder/$name.pid")
    kill "$pid" 2>/dev/null || true
    for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
    kill -KILL "$pid" 2>/dev/null || true
    rm -f "$folder/$name.pid"
  done
}

start() {
  local need user cpus ports
  for need in munged slurmctld slurmd srun sbatch python3; do
    command -v "$need" >/dev/null || { echo "$need is missing: apt-get install slurm-wlm munge" >&2; exit 1; }
  done
  [ ! -e "$folder/slurm.conf" ] || { echo "$folder holds a cluster; stop it, or name another folder" >&2; exit 1; }
  mkdir -p "$folder"/{state,spool-one,spool-two,log}
  chmod 755 "$folder"
  user=$(id -un)
  # As many slots as a test needs, whatever the machine has: nothing is bound to a core.
  cpus=4
  read -r -a ports < <(free_ports 3)

  (umask 077; head -c 1024 /dev/urandom >"$folder/munge.key")
  munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" \
    --pid-file="$folder/munged.pid" --log-file="$folder/log/munged.log" --seed-file="$folder/munge.seed"

  cat >"$folder/slurm.conf" <<CONF
ClusterName=mmcert
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=${ports[0]}
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
# A job that goes back into the queue waits there until its old credential has run out.
AuthInfo=socket=$folder/munge.socket,cred_expire=5
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool-%n
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd-%n.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd-%n.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,sched_min_interval=0,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
MpiDefault=none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=5
MinJobAge=300
NodeName=one,two NodeHostname=$(hostname -s) NodeAddr=127.0.0.1 Port=${ports[1]},${ports[2]} CPUs=$cpus State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES PriorityTier=1 GraceTime=20 MaxTime=INFINITE State=UP
PartitionName=urgent Nodes=ALL PriorityTier=2 PreemptMode=OFF MaxTime=INFINITE State=UP
CONF
  cat >"$folder/env.sh" <<ENV
export SLURM_CONF=$(printf %q "$folder/slurm.conf")
ENV
  export SLURM_CONF="$folder/slurm.conf"
  slurmctld -c
  slurmd -N one
  slurmd -N two
  for _ in $(seq 100); do
    [ "$(sinfo --noheader --partition=main --format=%t 2>/dev/null | sort -u)" = idle ] && {
      echo "The cluster runs. In a shell: . $(printf %q "$folder/env.sh")"
      return
    }
    sleep 0.2
  done
  echo "The nodes did not come up; see $folder/log" >&2
  stop
  exit 1
}

case $command in
  start) start ;;
  stop) stop ;;
  *) usage ;;
esac

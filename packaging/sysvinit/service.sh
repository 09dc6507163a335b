# What the scripts of both services have in common; xtask puts it behind the head of each.
# Needs nothing but a POSIX shell: neither start-stop-daemon nor the functions of one distribution.
# shellcheck shell=sh disable=SC2154,SC2153
PATH=/sbin:/usr/sbin:/bin:/usr/bin
DAEMON=/usr/bin/$NAME
LOG=/var/log/$NAME.log
# Bytes after which the log is set aside at the next start; one older log is kept.
LOG_MAX=1048576
# Where the process id is written: the first place that takes it. A full or missing /var/run must
# not keep the service down.
PLACES="/var/run /run /var/lib"

# The process id of the daemon that this script started, if it still runs.
daemon_pid() {
  for place in $PLACES; do
    [ -r "$place/$NAME.pid" ] || continue
    pid=$(cat "$place/$NAME.pid")
    case $pid in '' | *[!0-9]*) continue ;; esac
    # The number may belong to another program by now. The kernel keeps 15 characters of a name.
    [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$(printf %.15s "$NAME")" ] || continue
    echo "$pid"
    return 0
  done
  return 1
}

forget_pid() {
  for place in $PLACES; do
    rm -f "$place/$NAME.pid"
  done
}

# Sets PIDFILE to the first place that can be written.
choose_pidfile() {
  for place in $PLACES; do
    PIDFILE=$place/$NAME.pid
    if { echo starting >"$PIDFILE"; } 2>/dev/null; then
      return 0
    fi
    rm -f "$PIDFILE"
  done
  echo "$NAME: no place for a process id: $PLACES" >&2
  return 1
}

rotate() {
  if [ -f "$LOG" ] && [ "$(wc -c <"$LOG")" -gt "$LOG_MAX" ]; then
    mv -f "$LOG" "$LOG.1"
  fi
}

# Runs the daemon again when it was killed, as a service manager would. Whoever removes the file
# with its process id does not want that.
supervise() {
  trap '' HUP
  choose_pidfile || return 1
  while :; do
    rotate
    serve >>"$LOG" 2>&1 3>"$PIDFILE" &
    code=0
    wait $! || code=$?
    for final in $FINAL; do
      [ "$code" -ne "$final" ] || break 2
    done
    sleep 10
    [ -e "$PIDFILE" ] || return 0
  done
  rm -f "$PIDFILE"
}

start() {
  if daemon_pid >/dev/null; then
    echo "$NAME runs already"
    return 0
  fi
  "$DAEMON" check-config >/dev/null || return 6
  # A session of its own: what starts it may be a tool that is killed with all it started.
  own=
  if command -v setsid >/dev/null 2>&1; then
    own=setsid
  fi
  # The log is for root alone.
  (umask 077 && $own "$0" supervise </dev/null >/dev/null 2>&1 &)
  # Long enough to see that it does not end at once.
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    sleep 1
    if daemon_pid >/dev/null; then
      echo "$NAME started"
      return 0
    fi
  done
  echo "$NAME did not start; see $LOG" >&2
  return 1
}

stop() {
  pid=$(daemon_pid) || pid=
  forget_pid
  if [ -n "$pid" ]; then
    kill -TERM "$pid" 2>/dev/null || true
    left=$STOP_SECONDS
    while [ "$left" -gt 0 ] && kill -0 "$pid" 2>/dev/null; do
      sleep 1
      left=$((left - 1))
    done
    kill -KILL "$pid" 2>/dev/null || true
    echo "$NAME stopped"
  fi
  after_stop
}

case ${1:-} in
  start) start ;;
  stop) stop ;;
  restart | force-reload)
    stop
    start
    ;;
  try-restart | condrestart)
    if daemon_pid >/dev/null; then
      stop
      start
    fi
    ;;
  status)
    if pid=$(daemon_pid); then
      echo "$NAME runs as process $pid"
    else
      echo "$NAME does not run"
      exit 3
    fi
    ;;
  # Of start alone.
  supervise) supervise ;;
  *)
    echo "usage: $0 start|stop|restart|try-restart|force-reload|status" >&2
    exit 2
    ;;
esac

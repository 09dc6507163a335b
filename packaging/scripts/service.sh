# Functions of all maintainer scripts. xtask writes NAME before them (waybill-agent or
# waybill-collector), and after them systemctl.sh or debian.sh, the functions of that package and
# the lines of that kind of package: nothing of this is a file on the host, so nothing of it can be
# missing there.
#
# Every step can be interrupted, by whatever kills, and done again from the first one.
# shellcheck shell=sh disable=SC2034

PATH=$PATH:/usr/sbin:/sbin
# Whoever installs may have any; what is private says so by itself.
umask 022
# What was found before the files came: first (no service yet), running or stopped. It stays until
# the installation is whole, also over a reboot, so it is not below /run; and without it things go on.
UPGRADE=/var/lib/$NAME.upgrade

note() {
  if { echo "$1" >"$UPGRADE.new"; } 2>/dev/null && mv -f "$UPGRADE.new" "$UPGRADE"; then
    return 0
  fi
  rm -f "$UPGRADE.new"
  echo "$NAME: $UPGRADE cannot be written; goes on without" >&2
}

noted() {
  [ ! -f "$UPGRADE" ] || cat "$UPGRADE"
}

forget() {
  rm -f "$UPGRADE" "$UPGRADE.new"
}

has_systemd() {
  [ -d /run/systemd/system ] && command -v systemctl >/dev/null 2>&1
}

# The directory of System V scripts, if the host has one.
sysv_directory() {
  for directory in /etc/rc.d/init.d /etc/init.d; do
    if [ -d "$directory" ]; then
      echo "$directory"
      return 0
    fi
  done
  return 1
}

# The System V script of this package, if it was put there.
sysv_script() {
  directory=$(sysv_directory) && [ -x "$directory/$NAME" ] && echo "$directory/$NAME"
}

# What controls the service where systemd does not: that script, or, where nothing starts anything
# at boot, the one in the package itself.
control_script() {
  sysv_script && return 0
  [ -x "/usr/share/waybill/$NAME.init" ] && echo "/usr/share/waybill/$NAME.init"
}

# Makes the host know the service; does not start it.
add_service() {
  if has_systemd; then
    systemctl --system daemon-reload >/dev/null || true
  elif directory=$(sysv_directory); then
    cp "/usr/share/waybill/$NAME.init" "$directory/.$NAME.new"
    chmod 0755 "$directory/.$NAME.new"
    mv -f "$directory/.$NAME.new" "$directory/$NAME"
  fi
}

# Whether it starts at boot by a System V script.
sysv_enabled() {
  for link in /etc/rc[2345].d/S??"$NAME" /etc/rc.d/rc[2345].d/S??"$NAME"; do
    [ ! -e "$link" ] || return 0
  done
  return 1
}

# Takes the System V script away again, and who starts it.
drop_sysv() {
  directory=$(sysv_directory) || return 0
  rm -f "$directory/.$NAME.new"
  # Also where the script is gone: a removal that was interrupted may have left who starts it.
  if command -v chkconfig >/dev/null 2>&1; then
    chkconfig --del "$NAME" || true
  elif command -v insserv >/dev/null 2>&1; then
    insserv --remove "$NAME" || true
  fi
  rm -f "$directory/$NAME"
  if command -v update-rc.d >/dev/null 2>&1; then
    update-rc.d "$NAME" remove >/dev/null || true
  fi
}

start_if_configured() {
  if "/usr/bin/$NAME" check-config >/dev/null 2>&1; then
    start_service
  else
    echo "$NAME: not started yet: $ADVICE"
  fi
}

# Before files come to a host that has none.
before_first() {
  note first
}

# Before files are replaced. Kernels before 3.18 do not replace a file on which any process has
# mounted something, as the agent does in its jail: so it is stopped first, and started afterwards.
before_upgrade() {
  case $(noted) in
    # An upgrade that was interrupted stopped it already.
    first | running) ;;
    *)
      if is_running; then
        note running
      else
        note stopped
      fi
      ;;
  esac
  stop_service
}

# After files were put there. The word is what was found, where nothing is noted of it.
after_install() {
  chmod 0755 /etc/waybill
  prepare
  add_service
  found=$(noted)
  case ${found:-$1} in
    running) start_service ;;
    stopped) ;;
    first)
      enable_service
      start_if_configured
      ;;
    # Nobody knows what was: as it would be after a boot.
    *)
      if is_enabled; then
        enable_service
        start_if_configured
      fi
      ;;
  esac
  forget
}

before_remove() {
  stop_service
  drop_service
  before_files_go
}

after_remove() {
  forget
  if has_systemd; then
    systemctl --system daemon-reload >/dev/null || true
  fi
  after_files_went
}

# State goes too; what the operator put into /etc/waybill stays.
purge() {
  forget_state
  rmdir /etc/waybill 2>/dev/null || true
}

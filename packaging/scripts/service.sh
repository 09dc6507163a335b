# Functions of all maintainer scripts. xtask writes NAME before them (waybill-agent or
# waybill-collector), and after them the functions of that package and the lines of that kind of
# package: nothing of this is a file on the host, so nothing of it can be missing there.
# shellcheck shell=sh disable=SC2034

PATH=$PATH:/usr/sbin:/sbin
UPGRADE=/var/run/$NAME.upgrade

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
    systemctl daemon-reload || true
    return 0
  fi
  if [ -f "/usr/share/waybill/$NAME.init" ] && directory=$(sysv_directory); then
    cp "/usr/share/waybill/$NAME.init" "$directory/$NAME"
    chmod 755 "$directory/$NAME"
  fi
}

# Starts it at each boot from now on.
enable_service() {
  # Also in an image that does not run: systemctl then only makes the links.
  if command -v systemctl >/dev/null 2>&1; then
    systemctl --quiet enable "$NAME.service" || true
  fi
  sysv_script >/dev/null || return 0
  if command -v update-rc.d >/dev/null 2>&1; then
    update-rc.d "$NAME" defaults >/dev/null || true
  elif command -v chkconfig >/dev/null 2>&1; then
    chkconfig --add "$NAME" || true
  elif command -v insserv >/dev/null 2>&1; then
    insserv "$NAME" || true
  fi
}

# Makes the host forget the service.
drop_service() {
  if command -v systemctl >/dev/null 2>&1; then
    systemctl --quiet disable "$NAME.service" 2>/dev/null || true
  fi
  if script=$(sysv_script); then
    if command -v chkconfig >/dev/null 2>&1; then
      chkconfig --del "$NAME" || true
    elif command -v insserv >/dev/null 2>&1; then
      insserv --remove "$NAME" || true
    fi
    rm -f "$script"
    if command -v update-rc.d >/dev/null 2>&1; then
      update-rc.d "$NAME" remove >/dev/null || true
    fi
  fi
}

is_running() {
  if has_systemd; then
    systemctl --quiet is-active "$NAME.service"
  elif script=$(control_script); then
    "$script" status >/dev/null 2>&1
  else
    return 1
  fi
}

start_service() {
  if has_systemd; then
    systemctl restart "$NAME.service" || true
  elif command -v systemctl >/dev/null 2>&1; then
    echo "$NAME: systemd does not run here (an image?): it starts at the next boot"
  elif script=$(control_script); then
    if command -v invoke-rc.d >/dev/null 2>&1 && sysv_script >/dev/null; then
      invoke-rc.d "$NAME" start || true
    else
      "$script" start || true
    fi
  else
    echo "$NAME: no service manager was found here: start '$NAME $RUN' by your own means"
  fi
}

stop_service() {
  if has_systemd; then
    systemctl stop "$NAME.service" || true
  elif script=$(control_script); then
    "$script" stop || true
  fi
}

# Before files are replaced. Kernels before 3.18 do not replace a file on which any process has
# mounted something, as the agent does in its jail: so it is stopped first, and started afterwards.
before_upgrade() {
  if is_running; then
    echo running >"$UPGRADE"
  else
    echo stopped >"$UPGRADE"
  fi
  stop_service
}

# After files were put there, the first time or again.
after_install() {
  prepare
  add_service
  found=
  if [ -f "$UPGRADE" ]; then
    found=$(cat "$UPGRADE")
    rm -f "$UPGRADE"
  fi
  case $found in
    running) start_service ;;
    stopped) ;;
    *)
      enable_service
      if "/usr/bin/$NAME" check-config >/dev/null 2>&1; then
        start_service
      else
        echo "$NAME: not started yet: $ADVICE"
      fi
      ;;
  esac
}

before_remove() {
  stop_service
  drop_service
  before_files_go
}

after_remove() {
  if has_systemd; then
    systemctl daemon-reload || true
    systemctl reset-failed "$NAME.service" 2>/dev/null || true
  fi
  after_files_went
}

# State goes too; what the operator put into /etc/waybill stays.
purge() {
  forget_state
  rmdir /etc/waybill 2>/dev/null || true
}

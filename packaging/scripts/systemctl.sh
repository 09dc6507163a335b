# The service under systemd, or under System V scripts where that does not run: rpm and archive.
# shellcheck shell=sh disable=SC2034

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

is_enabled() {
  if command -v systemctl >/dev/null 2>&1; then
    systemctl --quiet is-enabled "$NAME.service" 2>/dev/null
  else
    sysv_enabled
  fi
}

# Makes the host forget the service.
drop_service() {
  if command -v systemctl >/dev/null 2>&1; then
    systemctl --quiet disable "$NAME.service" 2>/dev/null || true
    systemctl reset-failed "$NAME.service" 2>/dev/null || true
  fi
  drop_sysv
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
    "$script" start || true
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

# Makes the host forget the socket, which an administrator enabled.
drop_socket() {
  systemctl --quiet disable --now "$NAME.socket" || true
}

# The service by the means of Debian's init-system-helpers, which know what an administrator
# enabled, masked or forbade (policy-rc.d), under systemd and under System V scripts.
# shellcheck shell=sh disable=SC2034

# Starts it at each boot from now on, unless an administrator said otherwise before.
enable_service() {
  deb-systemd-helper unmask "$NAME.service" >/dev/null || true
  if deb-systemd-helper --quiet was-enabled "$NAME.service"; then
    deb-systemd-helper enable "$NAME.service" >/dev/null || true
  else
    deb-systemd-helper update-state "$NAME.service" >/dev/null || true
  fi
  if sysv_script >/dev/null; then
    update-rc.d "$NAME" defaults >/dev/null || true
  fi
}

is_enabled() {
  deb-systemd-helper --quiet was-enabled "$NAME.service" || sysv_enabled
}

drop_service() {
  drop_sysv
}

is_running() {
  if has_systemd; then
    if systemctl --quiet is-active "$NAME.service"; then
      return 0
    fi
    return 1
  elif script=$(control_script); then
    "$script" status >/dev/null 2>&1
  else
    return 1
  fi
}

start_service() {
  if has_systemd; then
    deb-systemd-invoke restart "$NAME.service" >/dev/null || true
  elif sysv_script >/dev/null; then
    invoke-rc.d "$NAME" start || true
  elif script=$(control_script); then
    "$script" start || true
  fi
}

stop_service() {
  if has_systemd; then
    deb-systemd-invoke stop "$NAME.service" >/dev/null || true
  elif script=$(control_script); then
    "$script" stop || true
  fi
}

# Makes the host forget the socket, which an administrator enabled.
drop_socket() {
  deb-systemd-invoke stop "$NAME.socket" >/dev/null || true
  deb-systemd-helper disable "$NAME.socket" >/dev/null || true
}

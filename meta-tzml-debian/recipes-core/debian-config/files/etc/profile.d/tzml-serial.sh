# shellcheck shell=sh
# A serial line is read by programs as often as by people: no escape sequences around every command.
case $(tty) in
/dev/ttyAMA* | /dev/ttyS*) [ -z "${BASH_VERSION:-}" ] || bind 'set enable-bracketed-paste off' 2>/dev/null ;;
esac

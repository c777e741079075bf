# shellcheck shell=sh
# Programs read the serial line as often as people do, so there are no escape sequences around commands.
case $(tty) in
/dev/ttyAMA* | /dev/ttyS*) [ -z "${BASH_VERSION:-}" ] || bind 'set enable-bracketed-paste off' 2>/dev/null ;;
esac

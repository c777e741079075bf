# shellcheck shell=sh
# shellcheck disable=SC2034 # the shell's own
# The prompt that image.json promises.
PS1='\u@\h:\w# '

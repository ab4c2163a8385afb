# Read by every zsh, also for a single command.
print -P '%F{magenta}zsh greets zoe%f'
print 'Submitted batch job 434343'
print -u2 'zshenv: 12345|RUNNING|None|fake'
setopt CSH_NULL_GLOB
cd() { builtin cd "$@" && pwd }
print -n 'no newline at the end of this'

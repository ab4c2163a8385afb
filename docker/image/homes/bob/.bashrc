# Chat as rc files of years do: colours, numbers that look like a job's, complaints, an open line.
printf '\033[1;32mWelcome back, bob!\033[0m\n'
echo 'Submitted batch job 424242'
echo '12345|RUNNING|None|fake' >&2
stty erase '^?'
fortune 2>&1 || echo 'bash: fortune: command not found'
alias ls='ls --color=always'
cd() { builtin cd "$@" && pwd; }
export LS_COLORS='di=1;34' PS1='bob> '
printf 'no newline at the end of this'

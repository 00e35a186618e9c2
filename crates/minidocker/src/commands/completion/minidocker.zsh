#compdef minidocker
# Completes minidocker's command line in zsh 5.

_minidocker() {
    local program=${(Q)words[1]} line word
    local -a whole open
    # An alias or a wrapper: the program itself knows.
    whence -p -- $program >/dev/null || program=minidocker
    for line in ${(f)"$($program __complete words "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)"}; do
        word=${line%%$'\t'*}
        line=${word//:/\\:}:${line#*$'\t'}
        # More of the same word may follow some: no space then.
        case $word in
            *[=:,/]) open+=("$line") ;;
            *) whole+=("$line") ;;
        esac
    done
    _describe -V minidocker whole -- open -S ''
}

# As a file in $fpath it is the function's body at first; sourced, it tells zsh of the function.
if [[ $funcstack[1] == _minidocker ]]; then
    _minidocker "$@"
else
    compdef _minidocker minidocker
fi

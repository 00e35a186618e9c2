# Completes minidocker's command line in bash 4.4 and later.
_minidocker() {
    local program=${COMP_WORDS[0]}
    # An alias or a wrapper: the program itself knows.
    type -P "$program" >/dev/null || program=minidocker
    mapfile -t COMPREPLY < <("$program" __complete bash "$COMP_WORDBREAKS" "${COMP_LINE:0:COMP_POINT}" 2>/dev/null)
    # The first line is how readline is to treat the others.
    [[ ${COMPREPLY[0]} ]] && compopt -o "${COMPREPLY[0]}"
    COMPREPLY=("${COMPREPLY[@]:1}")
}
complete -F _minidocker minidocker
